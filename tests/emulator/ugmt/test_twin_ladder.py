"""The kernel against the slow twin, which was written from the specification alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scout40.emulator.ugmt import Ugmt, computed_tables, firmware
from scout40.emulator.ugmt.firmware import Firmware
from scout40.emulator.ugmt.neighbours import MATCH_NAMES
from scout40.emulator.ugmt.tables import Tables
from tests.emulator.ugmt import muons as inputs
from tests.emulator.ugmt import slow_ugmt

VERSIONS = ("2016", "2017-start", "2017", "2022", "2024", "2024-addresses")
PAIRS = ("OMTF-OMTF", "EMTF-EMTF", "OMTF-BMTF", "OMTF-EMTF")
FEW = settings(max_examples=25)
"""For large crossings; each test runs for every one of VERSIONS."""

STATION_ONLY = ("hw_phi_at_vtx", "hw_eta_at_vtx")


def twin_tables(fw: Firmware, tables: Tables) -> slow_ugmt.Tables:
    """The same contents for the twin; match tables are the twin's own."""
    old = fw.match_eta_bits == 4
    finders = ("BMTF", "OMTF", "EMTF")
    return slow_ugmt.Tables(
        rank=tables.rank.tolist(),
        match=slow_ugmt.matches_2016() if old else slow_ugmt.matches_run3(),
        dphi=dict(zip(finders, tables.phi_extrapolation.tolist(), strict=True)),
        deta=dict(zip(finders, tables.eta_extrapolation.tolist(), strict=True)),
        phi_index=tables.calo_phi_index.tolist(),
        eta_index=tables.calo_eta_index.tolist(),
        absolute=tables.absolute_isolation.tolist(),
        relative=tables.relative_isolation.tolist(),
        coarse=fw.extrapolation.pt_bits == 6,
    )


class Ladder:
    """Both implementations of one firmware."""

    def __init__(self, name: str) -> None:
        self.fw = firmware(name)
        tables = computed_tables(self.fw)
        self.ours = Ugmt(self.fw, tables)
        self.tables = twin_tables(self.fw, tables)

    def check(
        self, crossings: list[inputs.Crossing], sums: list[inputs.Crossing] | None = None
    ) -> None:
        result = self.ours.run(inputs.block(crossings, sums), details=True)
        for number, crossing in enumerate(crossings):
            details, between, final = slow_ugmt.run(
                crossing, sums[number] if sums else [], self.tables,
                bmtf="kalman" if self.fw.bmtf == "kalman" else "original",
                emtf="addresses" if self.fw.emtf == "addresses" else "coordinates",
                quality="2024" if self.fw.quality == "full" else "pre2024",
            )  # fmt: skip
            self._same(result.tables["tfmu"], number, details, ())
            self._same(result.tables["mu"], number, final, ("pos",))
            alone = ("hw_iso", "hw_iso_sum", "calo_eta_index", "calo_phi_index")
            self._same(result.tables["mu_intermediate"], number, between, alone)

    def _same(self, table: Any, number: int, expected: list[Any], but: tuple[str, ...]) -> None:
        one = table.take_crossings(number, number + 1)
        assert len(one) == len(expected)
        for place, muon in enumerate(expected):
            ours = {name: int(values[place]) for name, values in one.columns.items()}
            if "hw_charge_valid" in ours and "hw_sign" in ours:
                ours["hw_sign_valid"] = ours["hw_charge_valid"]
                ours["charge"] = (1 - 2 * ours["hw_sign"]) * ours["hw_charge_valid"]
            skip = (*but, *(() if self.fw.vertex_output else STATION_ONLY))
            wanted = {name: value for name, value in muon.items() if name not in skip}
            assert {name: ours[name] for name in wanted} == wanted


@pytest.fixture(scope="module", params=VERSIONS)
def ladder(request: pytest.FixtureRequest) -> Ladder:
    return Ladder(request.param)


@settings(max_examples=50)
@given(crossing=inputs.crossings(), wrong=inputs.crossings(wrong_side=True, largest=6))
def test_small_crossings(ladder: Ladder, crossing: inputs.Crossing, wrong: inputs.Crossing) -> None:
    ladder.check([crossing, [], wrong])


@FEW
@given(crossing=inputs.crossings(largest=30, crowded=False))
def test_busy_crossings(ladder: Ladder, crossing: inputs.Crossing) -> None:
    ladder.check([crossing])


@FEW
@given(seed=st.integers(0, 2**32 - 1))
def test_full_crossings(ladder: Ladder, seed: int) -> None:
    ladder.check([[], *inputs.full_crossings(1, seed)])


@FEW
@given(crossing=inputs.crossings(), seed=st.integers(0, 2**32 - 1))
def test_calorimeter_sums(ladder: Ladder, crossing: inputs.Crossing, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.choice(28 * 36, int(rng.integers(0, 1009)), replace=False)
    sums = [
        {"ieta": int(cell) // 36, "iphi": int(cell) % 36, "et": int(rng.choice((0, 2, 3, 30, 31)))}
        for cell in cells
    ]
    ladder.check([crossing, crossing], [sums, []])


@pytest.mark.parametrize("name", VERSIONS)
def test_match_tables_of_both_sides_are_the_twins(name: str) -> None:
    fw = firmware(name)
    tables = computed_tables(fw)
    twins = twin_tables(fw, tables).match
    for place in range(len(MATCH_NAMES)):
        expected = np.zeros(512, np.int64)
        values = np.array(twins[PAIRS[place // 2]])
        for half in (0, 256):
            expected[half : half + min(256, len(values))] = values[:256]
        assert (tables.match[place] == expected).all()
