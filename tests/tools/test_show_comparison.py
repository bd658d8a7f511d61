"""Objects of a differing crossing: what is shown is shown in full, whatever the width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from scout40.tools import show_comparison
from scout40.tools.comparison import Difference

MUON = {
    "slot": 3, "hw_phi_at_vtx": 172, "hw_pt": 67, "hw_eta_at_vtx": -12, "hw_qual": 14,
    "hw_charge_valid": 1, "tf_muon_index": 45, "hw_pt_unconstrained": 117, "pt": 33.0,
    "phi_at_vtx": 1.8761, "eta_at_vtx": -0.1305,
}  # fmt: skip


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_objects_fit_without_a_cut(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, height=50, force_terminal=True,
                      color_system=None)  # fmt: skip
    what = Difference(
        name="L1_A", expression="MU22", row=280, orbit=0, bx=281, recorded=True, emulated=False,
        objects={"mu": [MUON], "jet": []}, values={},
    )  # fmt: skip
    show_comparison.difference(console, what)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "jet: none" in text
    heads = next(line for line in text.splitlines() if line.startswith("mu ")).split()
    assert heads[:3] == ["mu", "hw_pt", "hw_eta_at_vtx"]
    left = len(MUON) - len(heads)
    assert (f"and {left} more fields" in text) == (left > 0)
    assert (left > 0) == (width < 150)
