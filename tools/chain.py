"""Where a run starts: at the objects of the global trigger, at track-finder links, at towers.

From links the global muon trigger makes the muons, from towers calorimeter layer 2 makes jets,
sums, e/gamma and taus. The menu then sees them like recorded objects.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from scout40.streams.block import Block, Table
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.formats.track_finder import FIRST_LINK, LINKS, SLOTS
from scout40.streams.sources import expanded

# The emulations are imported by the runs that need them: together they take a quarter second.
if TYPE_CHECKING:
    from scout40.emulator.calo.config import CaloConfig
    from scout40.emulator.calo.emulate import CaloLayer2
    from scout40.emulator.ugmt.emulate import Ugmt
    from scout40.emulator.ugmt.firmware import Firmware

Start = Literal["objects", "links", "towers"]
TABLE = {"links": "tfmu", "towers": "tower"}
"""The table that a start needs."""

DEFAULT_FIRMWARE, DEFAULT_CALO = "2024", "2024"
ADDRESSES = "2024-addresses"
OF_BOARDS = "2016"
"""Firmware of the public pattern files and test benches."""

QUALITIES: dict[str, Literal["full", "two bits"]] = {
    "hw_qual_2024": "full",
    "hw_qual_pre2024": "two bits",
}
"""Columns of the output quality by either rule, whatever the firmware has."""

SUMS = ("_inputs.parquet", "_calosums.parquet")
"""A table of links ends in the first; the one beside it that ends in the second has its sums."""


@dataclass(frozen=True)
class Chain:
    """What turns the blocks of a source into blocks with the objects of the global trigger.

    firmware: of the uGMT; None: "2016" for pattern files and test benches, "2024-addresses" for
    tables with endcap track addresses, else "2024". luts: folder of official tables; what it
    lacks is computed. calo_config: setting of layer 2, default "2024".
    """

    start: Start = "objects"
    firmware: str | None = None
    luts: str | None = None
    calo_config: str | None = None

    def __post_init__(self) -> None:
        if self.firmware is not None:
            from scout40.emulator.ugmt.firmware import firmware

            self._only("links", "a uGMT firmware (--firmware)")
            firmware(self.firmware)
        if self.calo_config is not None:
            from scout40.emulator.calo.config import configuration

            self._only("towers", "a calo configuration (--calo-config)")
            configuration(self.calo_config)
        if self.luts is not None and self.start == "objects":
            raise BadConfig("look-up tables (--luts) are for --from links or --from towers")

    def _only(self, start: Start, what: str) -> None:
        if self.start != start:
            raise BadConfig(f"{what} is for --from {start}, not --from {self.start}")

    def configuration(self) -> dict[str, object]:
        """What decides the result, for the lineage; nothing when no stage runs."""
        if self.start == "objects":
            return {}
        tables = sorted(
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (Path(self.luts).iterdir() if self.luts else ())
            if path.is_file()
        )
        names = ("start", "firmware", "calo_config")
        return {**{name: getattr(self, name) for name in names}, "luts": tables}

    def stage(self, source: object) -> Stage:
        """The stage for the blocks of a source."""
        return Stage(self, source)


class Stage:
    """The emulation before the menu, of one run.

    notes says in words what was chosen, sources as (name, source) pairs for the lineage.
    """

    def __init__(self, chain: Chain, source: object) -> None:
        self._chain = chain
        self._source = source
        self._ugmt: Ugmt | None = None
        self._calo: dict[str, CaloLayer2] = {}
        self.notes: tuple[str, ...] = ()
        self.sources: tuple[tuple[str, str], ...] = ()

    def __call__(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Every block with what the stage adds."""
        for block in blocks:
            yield self.run(block)

    def run(self, block: Block, details: bool = False) -> Block:
        """One block; ``details`` also keeps what the steps before the last found."""
        start = self._chain.start
        if start == "objects":
            return block
        if TABLE[start] not in block.tables:
            has = ", ".join(block.tables) or "none"
            raise BadInput(f"--from {start} needs the table {TABLE[start]}; the input has: {has}")
        if start == "towers":
            return self.calo().run(block, details)
        ugmt = self._muons(block)
        out = ugmt.run(block, details)
        tables = dict(out.tables)
        tables["mu"] = _as_reference(tables["mu"], ugmt.firmware, tables["tfmu"])
        return out.replace(tables=tables)

    def calo(self, config: CaloConfig | None = None) -> CaloLayer2:
        """Layer 2 of the chain, or with another setting and the same tables."""
        from scout40.emulator.calo.config import configuration
        from scout40.emulator.calo.emulate import CaloLayer2, load_tables, packaged_tables

        chosen = config or configuration(self._chain.calo_config or DEFAULT_CALO)
        if chosen.name not in self._calo:
            if self._calo:
                tables = next(iter(self._calo.values())).tables
            else:
                luts = self._chain.luts
                tables = packaged_tables() if luts is None else load_tables(luts)
            self._calo[chosen.name] = CaloLayer2(chosen, tables)
            sources = dict.fromkeys(s for layer in self._calo.values() for s in layer.sources)
            names = ", ".join(self._calo)
            self.notes = ("; ".join([f"calo layer 2, setting {names}", *sources]),)
            self.sources = (("calo layer 2", names), *map(_name_and_source, sources))
        return self._calo[chosen.name]

    def _muons(self, block: Block) -> Ugmt:
        """The uGMT, chosen at the first block."""
        if self._ugmt is None:
            from scout40.emulator.ugmt.emulate import Ugmt
            from scout40.emulator.ugmt.firmware import firmware
            from scout40.emulator.ugmt.tables import computed_tables, load_tables
            from scout40.streams.sources.mp7_pattern import Mp7PatternSource
            from scout40.streams.sources.ugmt_bench import UgmtBenchSource

            boards = isinstance(self._source, (Mp7PatternSource, UgmtBenchSource))
            addresses = "me1_ch" in block.tables["tfmu"].columns
            chosen = self._chain.firmware or (
                OF_BOARDS if boards else ADDRESSES if addresses else DEFAULT_FIRMWARE
            )
            fw = firmware(chosen)
            luts = self._chain.luts
            tables = computed_tables(fw) if luts is None else load_tables(luts, fw)
            self._ugmt = Ugmt(fw, tables)
            sums = "with calorimeter sums"
            if "calosum" not in block.tables:
                sums = "no calorimeter sums, so both isolation bits of all muons are set"
            words = _tables_in_words(tables.sources)
            self.notes = (f"uGMT firmware {fw.name}; {words}; {sums}",)
            self.sources = (("uGMT firmware", fw.name), *tables.sources.items())
        return self._ugmt


def with_sums(inputs: Sequence[str | Path]) -> list[str]:
    """Inputs with the calorimeter sums beside a single table of links."""
    from scout40.streams.sources.links import MUONS, kind_of

    names = [str(path) for path in inputs]
    places = expanded(names)
    if len(places) == 1 and places[0].endswith(SUMS[0]) and kind_of(places[0]) is MUONS:
        beside = Path(places[0].removesuffix(SUMS[0]) + SUMS[1])
        if beside.exists():
            return [*places, str(beside)]
    return names


def _name_and_source(text: str) -> tuple[str, str]:
    """A calorimeter table: file and digest, or the packaged constants."""
    name, digest, value = text.rpartition(" sha256:")
    return (name, f"sha256:{value}") if digest else ("jet calibration", text)


def _tables_in_words(sources: Mapping[str, str]) -> str:
    from scout40.emulator.ugmt.tables import COMPUTED

    files = [name for name, source in sources.items() if source != COMPUTED]
    if not files:
        return "all tables computed by scout40 (--luts FOLDER takes official ones)"
    computed = [name for name in sources if name not in files]
    matches = [name for name in computed if name.endswith("MatchQual")]
    named = [name for name in computed if name not in matches]
    named += [f"{len(matches)} match tables"] if matches else []
    parts = [
        f"{len(files)} tables from files",
        *(["computed: " + ", ".join(named)] if named else []),
    ]
    return ", ".join(parts)


def _as_reference(mu: Table, fw: Firmware, tfmu: Table) -> Table:
    """Muons with further columns, named as in files of expected uGMT output."""
    from scout40.emulator.ugmt.quality import output_quality

    start = np.repeat(mu.offsets[:-1], mu.counts())
    valid = mu["hw_charge_valid"]
    sign = 1 - 2 * mu["hw_sign"].astype(np.int8)
    rows = _rows_of(mu, tfmu)
    sent = {name: tfmu[name][rows] for name in ("link", "hw_hf", "hw_qual")}
    more = {
        "pos": (np.arange(len(mu)) - start).astype(np.uint8),
        "hw_sign_valid": valid,
        "charge": np.where(valid == 1, sign, np.int8(0)),
        **{
            name: output_quality(dataclasses.replace(fw, quality=rule), sent).astype(np.uint8)
            for name, rule in QUALITIES.items()
        },
    }
    return Table({**mu.columns, **more}, mu.offsets)


def _rows_of(mu: Table, tfmu: Table) -> npt.NDArray[np.intp]:
    """Rows of the input muons that the output muons were."""

    def places(table: Table, index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        counts = table.counts()
        return np.repeat(np.arange(len(counts)) * (LINKS * SLOTS), counts) + index

    link = tfmu["link"].astype(np.int64) - FIRST_LINK
    sent = places(tfmu, SLOTS * link + tfmu["slot"])
    return np.searchsorted(sent, places(mu, mu["tf_muon_index"].astype(np.int64)))
