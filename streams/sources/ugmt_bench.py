"""Test benches of the global muon trigger (uGMT): input and expected output of single crossings.

Text, one block of lines an event, begun by ``# Event: n``. ``CALOr``: 36 energy sums of ring r
(some files have none). ``EMTF+ OMTF+ BMTF OMTF- EMTF-``: input muons by place (3 * processor +
slot), with azimuth at the global scale, and ``1`` in the last column where there is none.
``EIMD OIMD BIMD``: the 24 expected intermediate muons, ``OUT`` the 8 final ones with isolation.
Files of 2016 have the index of each final muon too, and the address of each track (``BTRK``).
Layout from the uGMTScripts of 2015 and 2016, as written down in the project's format notes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Block, Origin, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.track_finder import (
    CALOSUM_RANGES,
    FINDERS,
    FIRST_LINK_OF,
    PHI_TURN,
    REGIONS,
    RINGS,
    SLOTS,
    TFMU,
    TFMU_DTYPES,
    TFMU_RANGES,
    phi_begin,
)
from scout40.streams.formats.ugt import UgtMuon
from scout40.streams.sources.base import Run
from scout40.streams.sources.mp7_pattern import Line, counted_block, lines_of

Array = npt.NDArray[Any]
Row = dict[str, int]

_EVENT = re.compile(rb"#\s*Event:\s*(\d{1,9})\s*")
_BEGIN = re.compile(
    rb"^#\s*Event:\s*\d+\s*$(?:\s*^#.*$)*\s*^(?:CALO0|EMTF\+)\s+\d+\s+\d+\s", re.MULTILINE
)
_NUMBER = re.compile(rb"-?\d{1,9}")

BAD_EVENT = "event not readable"
EVENTS = 1 << 12
"""Events of a block."""
MAX_LINES = 1 << 10
"""Lines of one event; there are about 220."""

COLUMNS = ("pos", "hw_pt", "hw_phi", "hw_eta", "hw_sign", "hw_sign_valid", "hw_qual", "hw_rank")
"""Columns of a muon behind its name; then the one that says that there is none."""
ADDRESS = ("wheel_side", "wheel_num", "stat1", "stat2", "stat3", "stat4")
TRACK = ("hw_eta", "hw_phi", "hw_qual", "sel", *ADDRESS, "empty")
"""Columns of one of the three tracks of a line BTRK."""

PROCESSORS = {"EMTF": 6, "OMTF": 6, "BMTF": 12}
STREAMS = {  # name -> first place and stream of the intermediate muons
    "EIMD": ((0, 0), (20, 4)),
    "OIMD": ((4, 1), (16, 3)),
    "BIMD": ((8, 2),),
}
INTERMEDIATES, FINALS = 24, 8

LIMITS = {
    **TFMU_RANGES,
    "hw_phi": (0, 1023),
    "hw_rank": (0, 1023),
    "empty": (0, 1),
    "hw_iso": (0, 3),
    "tf_muon_index": (0, 107),
    "local": TFMU_RANGES["hw_phi"],
    "sel": (0, 3),
}

EXPECTED = {
    "pos": np.dtype(np.uint8),
    "hw_pt": TFMU_DTYPES["hw_pt"],
    "hw_phi": UgtMuon.fields["hw_phi"].dtype,
    "hw_eta": TFMU_DTYPES["hw_eta"],
    "hw_sign": np.dtype(np.uint8),
    "hw_sign_valid": np.dtype(np.uint8),
    "hw_qual": np.dtype(np.uint8),
    "hw_rank": np.dtype(np.uint16),
}
"""Columns of the tables of expected muons."""


def recognise(head: bytes, path: str) -> bool:
    """True when the first event begins with sums or muons."""
    return _BEGIN.search(head) is not None


@dataclass(frozen=True)
class Vintage:
    """What the events of a file have."""

    calo: bool
    tracks: bool
    index: bool


@dataclass
class _Event:
    """One event as it was read."""

    number: int
    muons: list[Row] = field(default_factory=list)
    sums: list[Row] = field(default_factory=list)
    intermediate: list[Row] = field(default_factory=list)
    final: list[Row] = field(default_factory=list)


class UgmtBenchSource:
    """Blocks of test benches: ``tfmu``, ``calosum``, ``expected_intermediate``, ``expected_mu``.

    Rows are independent crossings; orbit and bx count them, the crossing column ``event`` is the
    number in the file. A packet is an event. Azimuths of ``tfmu`` are local to the processor, as
    on the links; those of the expected muons are global, as in the file.

    Raises BadInput when a file has no readable event, or files have different columns.
    """

    contiguous = False

    def __init__(self, paths: Sequence[str]) -> None:
        if not paths:
            raise BadInput("no test bench given")
        self._paths = [str(path) for path in paths]
        looks = [_look(path) for path in self._paths]
        kinds = {vintage for vintage, _ in looks}
        if len(kinds) > 1:
            raise BadInput(
                "test benches of different vintages (with and without CALO, BTRK addresses or the "
                "index of OUT) cannot be read together"
            )
        self._vintage = looks[0][0]
        self.total: int | None = sum(events for _, events in looks)
        year = "2016" if self._vintage.index else "2015"
        self.name = f"uGMT test bench ({year}): {', '.join(self._paths)}"

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks of at most ``run.rows_per_block`` events."""
        most = max(1, min(run.rows_per_block, EVENTS))
        sequence = before = 0
        for path in self._paths:
            waiting: list[_Event] = []
            events = _events(path, self._vintage, run)
            while True:
                event = next(events, None)
                if event is not None:
                    waiting.append(event)
                if waiting and (event is None or len(waiting) == most):
                    origin = Origin(os.path.basename(path), sequence)
                    yield self._block(waiting, before, origin)
                    before, sequence, waiting = before + len(waiting), sequence + 1, []
                if event is None:
                    break

    def _block(self, events: Sequence[_Event], before: int, origin: Origin) -> Block:
        final = dict(EXPECTED) | {"hw_iso": np.dtype(np.uint8)}
        if self._vintage.index:
            final["tf_muon_index"] = np.dtype(np.uint8)
        byte = np.dtype(np.uint8)
        tables = {"tfmu": _table([e.muons for e in events], {n: TFMU_DTYPES[n] for n in TFMU})}
        if self._vintage.calo:
            sums = dict.fromkeys(CALOSUM_RANGES, byte)
            tables["calosum"] = _table([e.sums for e in events], sums)
        intermediate = {"stream": byte} | EXPECTED
        tables["expected_intermediate"] = _table([e.intermediate for e in events], intermediate)
        tables["expected_mu"] = _table([e.final for e in events], final)
        numbers = np.array([event.number for event in events], np.int64)
        return counted_block(numbers, tables, before, origin)


def _table(rows: Sequence[list[Row]], types: dict[str, np.dtype[Any]]) -> Table:
    flat = [row for event in rows for row in event]
    columns = {name: np.array([r.get(name, 0) for r in flat], kind) for name, kind in types.items()}
    return Table(columns, offsets_of(np.array([len(event) for event in rows], np.int64)))


# -- text to events ------------------------------------------------------------------------------


@dataclass
class _Lines:
    """The lines of one event; ``number`` and ``first`` are those of its comment line."""

    number: int
    first: Line
    lines: list[Line] = field(default_factory=list)
    cut: bool = False


def _blocks_of_lines(path: str) -> Iterator[_Lines]:
    """The lines of every event, without comments; lines before the first event are skipped."""
    event: _Lines | None = None
    for line in lines_of(path):
        begin = _EVENT.fullmatch(line.text)
        if begin is not None:
            if event is not None:
                yield event
            event = _Lines(int(begin[1]), line)
        elif event is not None and line.text.strip() and not line.text.lstrip().startswith(b"#"):
            if len(event.lines) == MAX_LINES:
                event.cut = True
            else:
                event.lines.append(line)
    if event is not None:
        yield event


def _look(path: str) -> tuple[Vintage, int]:
    """The vintage of the first event that holds together, and the number of events."""
    found: Vintage | None = None
    events = 0
    failure: BadInput | None = None
    for event in _blocks_of_lines(path):
        events += 1
        if found is None:
            names = {line.text.split()[0]: len(line.text.split()) for line in event.lines}
            calo = any(name.startswith(b"CALO") for name in names)
            vintage = Vintage(calo, names.get(b"BTRK") == 34, names.get(b"OUT") == 12)
            try:
                _Reader(path, vintage).event(event)
            except BadInput as error:
                failure = failure or error
            else:
                found = vintage
    if found is None:
        raise failure or BadInput("no line '# Event: n'", file=path)
    return found, events


def _events(path: str, vintage: Vintage, run: Run) -> Iterator[_Event]:
    """The good events of a file; the others are counted and quarantined."""
    reader = _Reader(path, vintage)
    account = run.ledger["packets"]
    for lines in _blocks_of_lines(path):
        account.received += 1
        try:
            event = reader.event(lines)
        except BadInput as error:
            run.bad(BAD_EVENT, error, b"".join(line.text for line in lines.lines))
            continue
        account.out += 1
        yield event


@dataclass(frozen=True)
class _Reader:
    """Lines of one event to rows; BadInput naming file, line and field."""

    path: str
    vintage: Vintage

    def event(self, lines: _Lines) -> _Event:
        """The event of these lines."""
        found = _Event(lines.number)
        seen: set[tuple[bytes, int]] = set()
        addresses: dict[int, Row] = {}
        barrel = 0
        if lines.cut:
            raise self.error(lines.first, f"more than {MAX_LINES} lines in an event")
        for line in lines.lines:
            name, *rest = line.text.split()
            if name.startswith(b"CALO"):
                place = self.calo(line, name, rest, found)
            elif name == b"BTRK" and self.vintage.tracks:
                self.tracks(line, rest, barrel, addresses)
                place, barrel = barrel, barrel + 1
            elif name[1:4] == b"TRK" or name[:3] == b"FRM":
                continue  # repeats what the muons have, or serialises the output
            else:
                place = self.muon(line, name, rest, found)
            if (name, place) in seen:
                raise self.error(line, f"{name.decode('ascii', 'replace')} {place} repeated")
            seen.add((name, place))
        self.complete(lines, seen)
        for muon in found.muons:
            if FIRST_LINK_OF["BMTF"] <= muon["link"] < FIRST_LINK_OF["OMTF-"]:
                muon.update(addresses.get(SLOTS * muon["link"] + muon["slot"], {}))
        found.muons.sort(key=lambda muon: (muon["link"], muon["slot"]))
        return found

    def complete(self, lines: _Lines, seen: set[tuple[bytes, int]]) -> None:
        """An event with missing lines would look like one with fewer muons."""
        wanted = {f: SLOTS * PROCESSORS[f[:4]] for f in FINDERS} | {"OUT": FINALS}
        wanted |= {name: 4 * len(parts) for name, parts in STREAMS.items()} | {"BIMD": 8}
        if self.vintage.tracks:
            wanted["BTRK"] = PROCESSORS["BMTF"]
        counts: dict[str, int] = {}
        for name, _ in seen:
            key = "CALO" if name.startswith(b"CALO") else name.decode()
            counts[key] = counts.get(key, 0) + 1
        wanted["CALO"] = RINGS if self.vintage.calo else 0
        for key, count in wanted.items():
            if counts.get(key, 0) != count:
                text = f"{counts.get(key, 0)} lines {key} in event {lines.number}, expected {count}"
                raise self.error(lines.first, text, key)

    def numbers(self, line: Line, tokens: Sequence[bytes], names: Sequence[str]) -> Row:
        """Integers of the columns ``names``, which must all be there and in range."""
        if len(tokens) != len(names):
            raise self.error(line, f"{len(tokens)} columns behind the name, expected {len(names)}")
        values: Row = {}
        for name, token in zip(names, tokens, strict=True):
            low, high = LIMITS.get(name, (0, 1 << 9))
            value = int(token) if _NUMBER.fullmatch(token) else None
            if value is None or not low <= value <= high:
                shown = token[:20].decode("ascii", "replace")
                raise self.error(line, f"{shown!r}, expected an integer {low}..{high}", name)
            values[name] = value
        return values

    def calo(self, line: Line, name: bytes, tokens: list[bytes], found: _Event) -> int:
        """One ring of energy sums; its number."""
        number = name[4:]
        if not number.isdigit() or len(number) > 2 or int(number) >= RINGS:
            shown = name[:20].decode("ascii", "replace")
            raise self.error(line, f"{shown!r}, expected CALO0..CALO{RINGS - 1}")
        ring = int(number)
        if len(tokens) != REGIONS:
            raise self.error(line, f"{len(tokens)} sums, expected {REGIONS}", f"CALO{ring}")
        for region, token in enumerate(tokens):
            if not token.isdigit() or len(token) > 2 or int(token) > 31:
                shown = token[:20].decode("ascii", "replace")
                raise self.error(line, f"region {region}: {shown!r}, expected 0..31", f"CALO{ring}")
            if int(token):
                found.sums.append({"ieta": ring, "iphi": region, "et": int(token)})
        return ring

    def tracks(
        self, line: Line, tokens: list[bytes], wedge: int, addresses: dict[int, Row]
    ) -> None:
        """Addresses of the three barrel tracks of one wedge."""
        if len(tokens) != SLOTS * len(TRACK):
            raise self.error(line, f"{len(tokens)} columns, expected {SLOTS * len(TRACK)}", "BTRK")
        for slot in range(SLOTS):
            part = tokens[slot * len(TRACK) : (slot + 1) * len(TRACK)]
            values = self.numbers(line, part, ("hw_eta", "local", *TRACK[2:]))
            place = SLOTS * (FIRST_LINK_OF["BMTF"] + wedge) + slot
            addresses[place] = {name: values[name] for name in ADDRESS}

    def muon(self, line: Line, name: bytes, tokens: list[bytes], found: _Event) -> int:
        """A muon of the input or the expected output; its place."""
        key = name.decode("ascii", "replace")
        if key not in FIRST_LINK_OF and key not in STREAMS and key != "OUT":
            raise self.error(line, f"unknown line {key[:20]!r}")
        names = [*COLUMNS, "empty"]
        if key == "OUT":
            names += ["hw_iso", "tf_muon_index"] if self.vintage.index else ["hw_iso"]
        values = self.numbers(line, tokens, names)
        values["hw_phi"] %= PHI_TURN  # the oldest files were generated on a finer scale
        place = values["pos"]
        if key in FIRST_LINK_OF:
            if place >= SLOTS * PROCESSORS[key[:4]]:
                raise self.error(line, f"place {place} does not exist", key)
            if not values["empty"]:
                found.muons.append(self.local(key, values))
        elif key == "OUT":
            if place >= FINALS:
                raise self.error(line, f"place {place} does not exist", key)
            if not values["empty"]:
                found.final.append(values)
        else:
            size = 8 if key == "BIMD" else 4
            stream = [(f, s) for f, s in STREAMS[key] if f <= place < f + size]
            if not stream:
                raise self.error(line, f"place {place} does not exist", key)
            if not values["empty"]:
                first, number = stream[0]
                found.intermediate.append({**values, "stream": number, "pos": place - first})
        return place

    def local(self, finder: str, values: Row) -> Row:
        """The muon on its link, with the azimuth inside the processor.

        Generated muons may lie far from their processor, where no 8 bits would reach.
        """
        processor, slot = divmod(values["pos"], SLOTS)
        link, half = FIRST_LINK_OF[finder] + processor, PHI_TURN // 2
        phi = (values["hw_phi"] - phi_begin(link) + half) % PHI_TURN - half
        return {**values, "link": link, "slot": slot, "hw_phi": phi}

    def error(self, line: Line, text: str, name: str | None = None) -> BadInput:
        return BadInput(
            f"line {line.number}: {text}", file=self.path, offset=line.offset, field=name
        )
