"""Every column of the reference runs of the CMS code, muon by muon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scout40.emulator.ugmt import Ugmt, firmware, load_tables
from scout40.streams.block import Block

Columns = dict[str, npt.NDArray[Any]]
Loader = Callable[[str], tuple[Block, Callable[[str], Columns]]]

CASES = (
    ("realistic", "2024"), ("realistic", "2022"), ("dense", "2024"), ("dense", "2022"),
    ("iso", "2024"), ("iso", "2022"), ("legacy_cancel", "2024-addresses"),
)  # fmt: skip
OTHER_NAME = {"hw_sign_valid": "hw_charge_valid"}


def differing(ours: Columns, expected: Columns, names: dict[str, str]) -> dict[str, int]:
    """Columns that differ, with the number of rows; ``names`` are expected -> ours."""
    wrong = {old: int((ours[new] != expected[old]).sum()) for old, new in names.items()}
    return {name: count for name, count in wrong.items() if count}


@pytest.mark.parametrize(("name", "version"), CASES)
def test_every_column(reference: Path, reference_set: Loader, name: str, version: str) -> None:
    fw = firmware(version)
    block, part = reference_set(name)
    result = Ugmt(fw, load_tables(reference / "ugmt_luts", fw)).run(block, details=True)
    inputs, outputs = part("inputs"), part("outputs")
    steps = {column: column[4:] for column in inputs if column.startswith("exp_")}
    assert len(steps) == 6
    assert not differing(dict(result.tables["tfmu"].columns), inputs, steps)

    final = result.tables["mu"]
    assert (final.counts() == np.bincount(outputs["bx"], minlength=len(block))).all()
    position = np.arange(len(final)) - np.repeat(final.offsets[:-1], final.counts())
    assert (position == outputs["pos"]).all()
    other_rule = "hw_qual_2024" if fw.quality == "two bits" else "hw_qual_pre2024"
    rule = {"hw_qual_2024", "hw_qual_pre2024"} - {other_rule}
    left_out = {"bx", "pos", "charge", other_rule}
    names = {c: OTHER_NAME.get(c, c) for c in outputs if c not in left_out}
    names |= dict.fromkeys(rule, "hw_qual")
    assert len(names) == 18
    assert not differing(dict(final.columns), outputs, names)
    charge = np.where(final["hw_charge_valid"] == 1, 1 - 2 * final["hw_sign"].astype(int), 0)
    assert (charge == outputs["charge"]).all()


@pytest.mark.parametrize("name", ["realistic", "dense"])
def test_intermediate_muons(reference: Path, reference_set: Loader, name: str) -> None:
    fw = firmware("2024")
    block, part = reference_set(name)
    ours = Ugmt(fw, load_tables(reference / "ugmt_luts", fw)).run(block).tables["mu_intermediate"]
    expected = part("intermediate")
    assert (ours.counts() == np.bincount(expected["bx"], minlength=len(block))).all()
    names = {column: column for column in ("stream", "pos", "tf_muon_index")}
    assert not differing(dict(ours.columns), expected, names)


def test_the_comparison_can_fail(reference: Path, reference_set: Loader) -> None:
    fw = firmware("2016")
    block, part = reference_set("dense")
    other = Ugmt(fw, load_tables(reference / "ugmt_luts", fw))
    columns = dict(other.run(block, details=True).tables["tfmu"].columns)
    wrong = differing(columns, part("inputs"), {"exp_cancel": "cancel", "exp_dphi": "dphi"})
    assert set(wrong) == {"exp_cancel", "exp_dphi"}
