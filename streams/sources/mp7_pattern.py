"""Pattern files of MP7 boards with the input or the output of the global muon trigger (uGMT).

Text: header lines (board, quad/channel, link numbers), then one line a 240 MHz frame,
``Frame 0005 : 1v2d6b5ad6 1v...``, one word ``<valid>v<8 hexadecimal digits>`` a link. Six frames
make a crossing, counted from the first frame whose words are valid.

Input: muons on links 36..71, slot k in frames 2k (low word) and 2k + 1 (high word), and ring r of
the calorimeter sums on link r + 8, six sums a word. Output: muons 2n and 2n + 1 on link n = 0..3,
in frames 2, 3 and 4, 5. Which of both a file is follows from the links that carry something.
Layout from the uGMTScripts of 2016, as written down in the project's format notes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.block import ORBIT_BX, Block, Origin, Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.track_finder import (
    EMTF_ADDRESS,
    FIRST_LINK,
    LINKS,
    REGIONS,
    RINGS,
    RUN2,
    RUN3,
    SLOTS,
    TFMU,
    TFMU_DTYPES,
    CaloSumWord,
    TrackFinderMuon,
    finder_of,
)
from scout40.streams.formats.ugt import UgtMuon
from scout40.streams.layout import Word
from scout40.streams.sources.base import Run

Array = npt.NDArray[Any]
Words = npt.NDArray[np.uint32]

FRAMES = 6
CALO_LINK = 8
OUTPUT_LINKS = 4
LONGEST = 1 << 14
"""Bytes of the longest line that is looked at."""
CROSSINGS = 1 << 12
"""Crossings of a block, of which each takes 2 kB while it is unpacked."""
INDEX_BIT = UgtMuon.fields["tf_muon_index"].lo
"""Output words of 2016 end below this bit."""

ROOM = 256
"""Link numbers are below this."""

_FRAME = re.compile(rb"\s*Frame\s+(\d{1,9})\s*:(.*)", re.DOTALL)
_LINKS = re.compile(rb"\s*Link\s*:((?:\s+\d{1,3})+)\s*")
_WORD = re.compile(rb"[01]v[0-9a-fA-F]{8}")
_BEGIN = re.compile(rb"^\s*Frame\s+\d{1,9}\s*:\s+[01]v[0-9a-fA-F]{8}\b", re.MULTILINE)

BAD_LINE = "frame not readable"
INCOMPLETE = "crossing without six good frames"


def recognise(head: bytes, path: str) -> bool:
    """True when a line looks like a frame."""
    return _BEGIN.search(head) is not None


@dataclass(frozen=True)
class Line:
    """One line of a text file: its number from 1, its byte offset and its bytes."""

    number: int
    offset: int
    text: bytes


def lines_of(path: str) -> Iterator[Line]:
    """Lines of a file; what is longer than ``LONGEST`` bytes comes as its beginning."""
    with open(path, "rb") as stream:
        number = 0
        while text := stream.readline(LONGEST):
            number += 1
            offset = stream.tell() - len(text)
            more = text
            while len(more) == LONGEST and not more.endswith(b"\n"):
                more = stream.readline(LONGEST)
            yield Line(number, offset, text)


@dataclass
class _Frames:
    """Reads frames of one file: words by link, in the order of the link numbers of the header."""

    path: str
    links: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[tuple[Line, int | None, Array | None, BadInput | None]]:
        """(line, frame number, words with validity (2, links), what is wrong)."""
        for line in lines_of(self.path):
            match = _FRAME.fullmatch(line.text)
            if match is None:
                header = _LINKS.fullmatch(line.text)
                if header is not None and not self.links:
                    self.links = self._header(header[1], line)
                elif line.text.lstrip().startswith(b"Frame"):
                    yield line, None, None, self._error(line, "no frame number", None)
                continue
            tokens = match[2].split()
            self.links = self.links or tuple(range(min(len(tokens), ROOM)))
            yield (line, int(match[1]), *self._words(line, tokens))

    def _header(self, numbers: bytes, line: Line) -> tuple[int, ...]:
        links = tuple(int(link) for link in numbers.split())
        if max(links) >= ROOM or len(set(links)) != len(links):
            raise self._error(line, f"link numbers repeated or above {ROOM - 1}", None)
        return links

    def _words(self, line: Line, tokens: list[bytes]) -> tuple[Array | None, BadInput | None]:
        if len(tokens) != len(self.links):
            text = f"{len(tokens)} words, expected {len(self.links)}"
            return None, self._error(line, text, None)
        for link, token in zip(self.links, tokens, strict=True):
            if _WORD.fullmatch(token) is None:
                shown = token[:20].decode("ascii", "replace")
                text = f"{shown!r}, expected <valid>v<8 hexadecimal digits>"
                return None, self._error(line, text, f"link {link}")
        words = np.frombuffer(bytes.fromhex("".join(t[2:].decode() for t in tokens)), ">u4")
        valid = np.array([token[:1] == b"1" for token in tokens])
        return np.stack([valid.astype(np.uint32), words.astype(np.uint32)]), None

    def _error(self, line: Line, text: str, name: str | None) -> BadInput:
        where = f"line {line.number}: {text}"
        return BadInput(where, file=self.path, offset=line.offset, field=name)


@dataclass(frozen=True)
class _Look:
    """What a first pass over a file tells."""

    path: str
    output: bool
    frames: int
    bits: int
    """Bits of an output word that the file uses."""


class Mp7PatternSource:
    """Blocks of pattern files: ``tfmu`` and ``calosum`` of input files, ``mu`` of output files.

    Rows are independent crossings; orbit and bx count them, the crossing column ``event`` is the
    place in the file. A packet is a frame. run3: track addresses have the layout of Run 3.

    Raises BadInput when input and output files are mixed, or a file has no valid frame.
    """

    contiguous = False

    def __init__(self, paths: Sequence[str], *, run3: bool = False) -> None:
        if not paths:
            raise BadInput("no pattern file given")
        self._words = RUN3 if run3 else RUN2
        self._files = [_look(str(path)) for path in paths]
        kinds = {(look.output, look.bits) for look in self._files}
        if len(kinds) > 1:
            raise BadInput("pattern files of input and output, or of several vintages, are mixed")
        self.total: int | None = sum(look.frames for look in self._files)
        self._output, self._bits = self._files[0].output, self._files[0].bits
        direction = "output" if self._output else "input"
        self.name = f"uGMT {direction} patterns: {', '.join(map(str, paths))}"

    def blocks(self, run: Run) -> Iterator[Block]:
        """Blocks of at most ``run.rows_per_block`` crossings."""
        most = max(1, min(run.rows_per_block, CROSSINGS))
        sequence = before = 0
        for look in self._files:
            waiting: list[tuple[int, Words]] = []
            for crossing in _crossings(look.path, run):
                waiting.append(crossing)
                if len(waiting) == most:
                    yield self._block(
                        waiting, before, Origin(os.path.basename(look.path), sequence)
                    )
                    before, sequence, waiting = before + most, sequence + 1, []
            if waiting:
                yield self._block(waiting, before, Origin(os.path.basename(look.path), sequence))
                before, sequence = before + len(waiting), sequence + 1

    def _block(self, found: Sequence[tuple[int, Words]], before: int, origin: Origin) -> Block:
        words = np.stack([words for _, words in found])
        if self._output:
            tables = {"mu": _output_muons(words, self._bits)}
        else:
            tables = {"tfmu": _muons(words, self._words), "calosum": _calo_sums(words)}
        event = np.array([event for event, _ in found], np.int64)
        return counted_block(event, tables, before, origin)


def counted_block(
    event: npt.NDArray[np.int64], tables: dict[str, Table], before: int, origin: Origin
) -> Block:
    """A block of independent crossings whose places count on from ``before``."""
    place = before + np.arange(len(event))
    orbit = (place // ORBIT_BX).astype(np.uint32)
    return Block(
        first_orbit=int(orbit[0]),
        last_orbit=int(orbit[-1]) + 1,
        orbit=orbit,
        bx=(place % ORBIT_BX + 1).astype(np.uint16),
        tables=tables,
        crossing={"event": event},
        origin=origin,
    )


# -- frames to crossings -------------------------------------------------------------------------


def _look(path: str) -> _Look:
    """One pass over the file: where it carries something, and how many frames are valid."""
    run = Run()
    carried = np.zeros((FRAMES, ROOM), np.uint32)
    for _, words in _crossings(path, run):
        carried |= words
    frames = run.ledger["packets"].received
    if not run.ledger["packets"].out:
        first = run.quarantine.reasons[0] if frames else "no frame with valid words"
        raise BadInput(f"no complete crossing: {first}", file=path)
    muons, output = carried[:, FIRST_LINK:].any(), bool(carried[:, :CALO_LINK].any())
    if muons and output:
        raise BadInput(
            f"words on links 0..{CALO_LINK - 1} and {FIRST_LINK}..: neither the input nor the "
            "output of the uGMT",
            file=path,
        )
    high = carried[[3, 5], :OUTPUT_LINKS]
    indexed = output and bool((high >> np.uint32(INDEX_BIT - 32)).any())
    return _Look(path, output, frames, 64 if indexed else INDEX_BIT)


@dataclass
class _Open:
    """The crossing whose frames are being read."""

    index: int
    first: Line
    frames: int = 0
    good: int = 0
    words: Words = field(default_factory=lambda: np.zeros((FRAMES, ROOM), np.uint32))


@dataclass
class _Assembler:
    """Frames of one file into crossings of six; counts them and what is wrong with them.

    begin: frame number of the first valid frame of a run of them; before: crossings of earlier
    runs.
    """

    path: str
    run: Run
    begin: int | None = None
    before: int = 0
    last: int = -1
    open: _Open | None = None

    def frame(
        self, line: Line, number: int | None, links: tuple[int, ...], words: Array | None
    ) -> Iterator[tuple[int, Words]]:
        """Takes a frame that is valid, or (``words`` None) not readable."""
        number = self.last + 1 if number is None else number
        account = self.run.ledger["packets"]
        account.received += 1
        if number <= self.last:
            self._bad(line, f"{BAD_LINE}: number {number} after {self.last}")
            return
        self.last = number
        if self.begin is None:
            if words is None:
                account.bad[BAD_LINE] += 1
                return
            self.begin = number
        index = self.before + (number - self.begin) // FRAMES
        if self.open is None or index != self.open.index:
            yield from self.close()
            self.open = _Open(index, line)
        self.open.frames += 1
        if words is not None:
            self.open.good += 1
            self.open.words[(number - self.begin) % FRAMES, list(links)] = words[0] * words[1]

    def close(self, ended: bool = False) -> Iterator[tuple[int, Words]]:
        """The open crossing, when it is complete; ``ended``: the run of valid frames is over."""
        found, self.open = self.open, None
        if found is not None:
            if found.good == FRAMES:
                self.run.ledger["packets"].out += FRAMES
                yield found.index, found.words
            else:
                text = f"line {found.first.number}: {INCOMPLETE}, {found.good} found"
                error = BadInput(text, file=self.path, offset=found.first.offset)
                self.run.ledger["packets"].bad[INCOMPLETE] += found.frames
                self.run.quarantine.put(error, found.first.text)
            self.before = found.index + 1 if ended else self.before
        if ended:
            self.begin = None

    def _bad(self, line: Line, text: str) -> None:
        error = BadInput(f"line {line.number}: {text}", file=self.path, offset=line.offset)
        self.run.bad(BAD_LINE, error, line.text)


def _crossings(path: str, run: Run) -> Iterator[tuple[int, Words]]:
    """(place in the file, words (6, ROOM) by link) of the good crossings; invalid words are 0."""
    frames = _Frames(path)
    assembler = _Assembler(path, run)
    for line, number, words, error in frames:
        if error is not None:
            run.quarantine.put(error, line.text)
        elif words is not None and not words[0].any():
            yield from assembler.close(ended=True)
            assembler.last = max(assembler.last, number or 0)
            continue
        yield from assembler.frame(line, number, frames.links, words)
    yield from assembler.close(ended=True)


# -- words to tables -----------------------------------------------------------------------------


def _muons(words: Words, declared: dict[str, type[Word]]) -> Table:
    """The muons of all links, shape of ``words`` (crossings, 6, ROOM)."""
    used = words[:, :, FIRST_LINK : FIRST_LINK + LINKS]
    # crossing, slot, low and high, link -> crossing, link, slot, low and high
    pairs = used.reshape(len(words), SLOTS, 2, LINKS).transpose(0, 3, 1, 2)
    size = TrackFinderMuon.fields["hw_pt"]
    filled = ((pairs[..., size.word] >> np.uint32(size.lo)) & np.uint32(size.mask)) != 0
    crossing, link, slot = np.nonzero(filled)
    rows = np.ascontiguousarray(pairs[filled])
    names = [*TFMU, *EMTF_ADDRESS]
    columns = {name: np.zeros(len(rows), TFMU_DTYPES[name]) for name in names}
    columns["link"][:] = link + FIRST_LINK
    columns["slot"][:] = slot
    finders = np.array([finder_of(FIRST_LINK + k)[:4] for k in range(LINKS)])
    for finder, word in declared.items():
        chosen = finders[link] == finder
        for name, values in word.unpack(rows[chosen]).items():
            if name in columns:
                columns[name][chosen] = values
    return Table(columns, offsets_of(np.bincount(crossing, minlength=len(words))))


def _calo_sums(words: Words) -> Table:
    """Sums that are not 0; six of the 5 bits in a word."""
    used = words[:, :, CALO_LINK : CALO_LINK + RINGS].transpose(0, 2, 1)
    parts = CaloSumWord.unpack(np.ascontiguousarray(used).reshape(-1, 1))
    sums = np.stack(list(parts.values()), axis=1).reshape(len(words), RINGS, REGIONS)
    crossing, ring, region = np.nonzero(sums)
    columns = {"ieta": ring.astype(np.uint8), "iphi": region.astype(np.uint8), "et": sums[sums > 0]}
    return Table(columns, offsets_of(np.bincount(crossing, minlength=len(words))))


def _output_muons(words: Words, bits: int) -> Table:
    """Muons 0..7 of every crossing; trailing empty places are left out."""
    used = words[:, 2:, :OUTPUT_LINKS].astype(np.uint64)
    slots = used[:, 0::2] | used[:, 1::2] << np.uint64(32)  # crossing, muon of the link, link
    slots = slots.transpose(0, 2, 1).reshape(len(words), 2 * OUTPUT_LINKS)
    size = UgtMuon.fields["hw_pt"]
    filled = ((slots >> np.uint64(size.lo)) & np.uint64(size.mask)) != 0
    place = np.arange(1, slots.shape[1] + 1)
    counts = (filled * place).max(axis=1, initial=0)
    columns = UgtMuon.unpack(slots[place <= counts[:, None]])
    known = {name: v for name, v in columns.items() if UgtMuon.fields[name].lo < bits}
    return Table(known, offsets_of(counts))
