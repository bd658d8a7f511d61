"""Energy sums: the 2024 data test vector, and a slow twin for all of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.calo.clusters_tables import ClusterTables
from scout40.emulator.calo.sums import energy_sums
from scout40.streams.block import Table, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats.ugt import UgtSums
from scout40.streams.sources.base import Run
from scout40.streams.sources.testvector import TestVectorSource
from tests.emulator.calo import slow_clusters as slow
from tests.emulator.calo.test_cordic import slow_cordic

VECTOR = "testvectors/ugt/L1menu_2024_v1_3_0_data_TestVector_000.txt"
FROM_JETS = ("hw_htt", "hw_htm", "hw_htm_phi", "hw_htmhf", "hw_htmhf_phi")
Sums = dict[str, int]


def trigonometry(iphi: int) -> tuple[int, int]:
    """Cosine and sine of a tower, from the rule."""

    def rounded(value: float) -> int:
        return int(math.copysign(math.floor(abs(value) + 0.5 + 1e-9), value))

    angle = math.radians(5 * (iphi - 1))
    cos = 511 if iphi == 61 else rounded(1023 * math.cos(angle))
    return cos, rounded(1023 * math.sin(angle))


def missing(x: int, y: int, full: bool, shift: int) -> tuple[int, int]:
    """Magnitude and azimuth as sent."""
    magnitude, phase = slow_cordic(x, y)
    return (4095, 0) if full else (min(magnitude >> shift, 4095), phase // 16)


def jet_sums(jets: list[tuple[int, int, int]]) -> Sums:
    """Of (et, ieta, iphi)."""
    out = {}
    for name, limit in (("htm", 26), ("htmhf", 41)):
        used = [jet for jet in jets if jet[0] > 60 and abs(jet[1]) <= limit]
        full = any(et == 65535 for et, _, _ in used)
        x = sum(et * trigonometry(iphi)[0] // 16 for et, _, iphi in used)
        y = sum(et * trigonometry(iphi)[1] // 16 for et, _, iphi in used)
        out[name], out[f"{name}_phi"] = missing(x, y, full, 6)
        if name == "htm":
            out["htt"] = min(sum(et for et, _, _ in used), 4095)
    return out


def tower_sums(towers: slow.Towers, met: list[int], compress: list[int]) -> Sums:
    """All that comes from towers."""
    event = slow.Event({})
    out = dict.fromkeys(("mbt0hfp", "mbt1hfp", "mbt0hfm", "mbt1hfm"), 0)
    inner = [item for item in towers.items() if abs(item[0][0]) <= 28]
    saturated = [word[0] for _, word in inner if word[0] >= 509]
    out["tower_count"] = sum(word[0] > 0 for _, word in inner)
    out["ett"] = 4095 if saturated else min(sum(word[0] for _, word in inner), 4095)
    event.towers = towers
    em = sum(event.em(index, iphi) for (index, iphi), _ in inner)
    out["ettem"] = 4095 if any(et >= 510 for et in saturated) else min(em, 4095)
    pile_up = compress[416 + min(slow.Event(towers).count(), 255)] if met else 0
    for name, limit in (("etm", 28), ("etmhf", 41)):
        x = y = full = 0
        for (ieta, iphi), (et, _, _) in towers.items():
            ring = abs(ieta) if abs(ieta) < 29 else abs(ieta) - 1
            least = met[ring if ring < 13 else 64 * pile_up + ring] if met else 0
            if abs(ieta) <= limit and et > least:
                cos, sin = trigonometry(iphi)
                x, y, full = x + et * cos, y + et * sin, full or et >= 509
        out[name], out[f"{name}_phi"] = missing(x, y, bool(full), 10)
    for (ieta, _), (_, _, misc) in towers.items():
        if abs(ieta) >= 30:
            side = "p" if ieta > 0 else "m"
            out[f"mbt0hf{side}"] += misc >> 2 & 1
            out[f"mbt1hf{side}"] += misc >> 3 & 1
    return {name: min(value, 15) if name[:2] == "mb" else value for name, value in out.items()}


def jet_table(events: list[list[tuple[int, int, int]]]) -> Table:
    """Candidates of some events."""
    rows = np.array([jet for jets in events for jet in jets], np.int64).reshape(-1, 3)
    columns = {name: rows[:, k] for k, name in enumerate(("hw_et", "ieta", "iphi"))}
    return Table(columns, offsets_of(np.array([len(jets) for jets in events])))


ET = st.integers(1, 200) | st.sampled_from([60, 61, 2047, 2048, 5000, 65534, 65535])
JETS = st.lists(
    st.tuples(ET, st.sampled_from([-41, -30, -27, -26, -1, 1, 26, 27, 41]), st.integers(1, 72)),
    max_size=30,
)


@given(st.lists(JETS, max_size=4))
def test_sums_of_jets_equal_the_twin(events: list[list[tuple[int, int, int]]]) -> None:
    sums = energy_sums(jet_table(events), None)
    for k, jets in enumerate(events):
        assert {n: int(sums[f"hw_{n}"][k]) for n in jet_sums(jets)} == jet_sums(jets)


@given(JETS.flatmap(lambda jets: st.tuples(st.just(jets), st.permutations(jets))))
def test_the_order_of_jets_does_not_matter(pair: tuple[list[tuple[int, int, int]], ...]) -> None:
    one, other = (energy_sums(jet_table([jets]), None) for jets in pair)
    assert all((one[name] == other[name]).all() for name in one.columns)


@given(st.lists(slow.events(), max_size=3), st.none() | st.integers(0, 9))
def test_sums_of_towers_equal_the_twin(events: list[slow.Towers], seed: int | None) -> None:
    met: list[int] = []
    tables, compress = ClusterTables(), [0] * 1024
    if seed is not None:
        rng = np.random.default_rng(seed)
        met, compress = rng.integers(0, 6, 2048).tolist(), rng.integers(0, 32, 1024).tolist()
        tables = ClusterTables(eg_compress=np.array(compress), met_threshold=np.array(met))
    sums = energy_sums(jet_table([[]] * len(events)), slow.tower_table(events), tables)
    for k, towers in enumerate(events):
        expected = tower_sums({at: w for at, w in towers.items() if abs(at[0]) < 29}, met, compress)
        whole = tower_sums(towers, met, compress)
        expected |= {n: v for n, v in whole.items() if "hf" in n}
        assert {n: int(sums[f"hw_{n}"][k]) for n in expected} == expected


def test_every_column_has_the_type_of_its_word() -> None:
    sums = energy_sums(jet_table([[], []]), slow.tower_table([{}, {}]))
    assert {name: column.dtype for name, column in sums.columns.items()} == {
        name: bits.dtype for name, bits in UgtSums.fields.items()
    }
    UgtSums.pack(sums.columns)


def test_empty_and_completely_full_crossings() -> None:
    full = {(ieta, iphi): (3, 0, 14) for ieta in slow.IETAS for iphi in range(1, 73)}
    sums = energy_sums(jet_table([[], []]), slow.tower_table([{}, full]))
    assert sums["hw_ett"].tolist() == [0, 4095]
    assert sums["hw_tower_count"].tolist() == [0, 56 * 72]
    assert sums["hw_mbt1hfm"].tolist() == [0, 15]
    assert sums["hw_htm_phi"].tolist() == [111, 111]
    assert sums["hw_etm"][1] < 4  # all around: next to nothing is missing


def test_two_saturated_jets_back_to_back_do_not_cancel() -> None:
    sums = energy_sums(jet_table([[(65535, 5, 1), (65535, 5, 37)]]), None)
    assert [int(sums[name][0]) for name in FROM_JETS] == [4095, 4095, 0, 4095, 0]


def test_columns_that_are_missing_are_named() -> None:
    table = jet_table([[(70, 5, 1)]])
    for name in ("hw_et", "iphi"):
        columns = {key: value for key, value in table.columns.items() if key != name}
        with pytest.raises(BadInput, match="lacks this column"):
            energy_sums(Table(columns, table.offsets), None)
    with pytest.raises(BadInput, match="iphi: jet 0: 73"):
        energy_sums(jet_table([[(70, 5, 73)]]), None)
    with pytest.raises(BadInput, match="towers of 2 crossings, jets of 1"):
        energy_sums(table, slow.tower_table([{}, {}]))


def test_data_test_vector(reference: Path) -> None:
    """HTT, HTM, HTMHF of every event whose jets are all there: fewer than 12, or the last <= 60."""
    (block,) = TestVectorSource([str(reference / VECTOR)]).blocks(Run())
    jets, expected = block.tables["jet"], block.tables["sums"]
    sums = energy_sums(jets, None)
    for name in FROM_JETS:
        assert np.array_equal(sums[name], expected[name]), name
    counts = jets.counts()
    saturated = [bool((jets["hw_et"][a:b] == 2047).any()) for a, b in
                 zip(jets.offsets, jets.offsets[1:], strict=False)]  # fmt: skip
    # What these equalities stand on.
    assert (len(counts), int((counts < 12).sum()), sum(saturated)) == (3564, 3562, 33)
