"""Which correlations a menu may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scout40.emulator.ugt import Menu, load_menu
from scout40.streams.block import Block, Table
from scout40.streams.errors import BadConfig
from scout40.streams.formats.ugt import UgtMuon

CUTS = """
[cuts]
MASS_M = { mass = [40, 5000] }
MASSDR_M = { mass_over_dr = [1, inf] }
ORMDR_R = { dr = [0, 0.5] }
ORMDPHI_R = { dphi = [0, 0.5] }
CHGCOR_OS = { charge = "os" }
"""


def menu(folder: Path, expression: str) -> Menu:
    path = folder / "menu.toml"
    text = (
        f'[menu]\nname = "m"\n{CUTS}\n[[algorithm]]\nname = "L1_A"\nexpression = "{expression}"\n'
    )
    path.write_text(text)
    return load_menu(path)


@pytest.mark.parametrize(
    "expression",
    [
        "comb_orm{MU3, MU3, JET30}[ORMDR_R, CHGCOR_OS]",
        "mass_trv_orm{JET30, ETM30, TAU30}[MASS_M, ORMDPHI_R]",
    ],
)
def test_the_reference_of_a_removal_need_not_be_like_the_leading_objects(
    tmp_path: Path, expression: str
) -> None:
    assert menu(tmp_path, expression).compile().tables.correlations.mask.any()


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("dist_orm{MU3, JET30}[ORMDR_R, CHGCOR_OS]", "charge correlation needs muons only"),
        ("mass_inv_dr{MU3, JET30}[MASSDR_M]", "between a muon and a calorimeter object"),
        ("mass_trv_orm{JET30, ETM30, TAU30}[MASS_M, ORMDR_R]", "missing sums have no eta"),
    ],
)
def test_what_no_rule_covers_is_refused(tmp_path: Path, expression: str, reason: str) -> None:
    made = menu(tmp_path, expression)
    with pytest.raises(BadConfig, match=reason):
        made.compile()


@pytest.mark.parametrize("far", [True, False])
def test_charge_of_the_leading_muons_beside_a_jet_as_reference(tmp_path: Path, far: bool) -> None:
    compiled = menu(tmp_path, "comb_orm{MU3, MU3, JET30}[ORMDR_R, CHGCOR_OS]").compile()
    offsets = np.array([0, 2], np.int32)
    words: dict[str, npt.NDArray[Any]] = {
        name: np.zeros(2, bits.dtype) for name, bits in UgtMuon.fields.items()
    }
    words |= {"hw_pt": np.array([20, 20], np.uint16), "hw_charge_valid": np.ones(2, np.uint8)}
    words |= {"hw_sign": np.array([0, 1], np.uint8)}
    jets: dict[str, npt.NDArray[Any]] = {
        "hw_et": np.array([100], np.uint16),
        "hw_eta": np.zeros(1, np.int8),
        "hw_phi": np.array([72 if far else 0], np.uint8),
    }
    tables = {"mu": Table(words, offsets), "jet": Table(jets, np.array([0, 1], np.int32))}
    block = Block(0, 1, np.zeros(1, np.uint32), np.ones(1, np.uint16), tables)
    assert compiled.decide(block).words[0, 0] == (1 if far else 0)
    words["hw_sign"][:] = 0  # like charges
    assert not compiled.decide(block).words.any()
