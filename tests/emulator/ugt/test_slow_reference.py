"""The slow reference and the tables against independently made numbers.

Expected numbers: `reference/cmssw/ugt_*`, made by a formula-level evaluation of the firmware's
integer arithmetic, and `ugt_luts_firmware.npz`, the numeric contents of the firmware's tables.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from scout40.emulator.ugt import luts, model
from tests.emulator.ugt import slow_pair, slow_ugt

KINDS = ("MU", "EG", "TAU", "JET", "ETM", "HTM", "ETMHF")

# Bit layout of the object words as the reference data's README states it: (name, low, width).
MUON = (
    ("hw_phi_at_vtx", 0, 10),
    ("hw_pt", 10, 9),
    ("hw_qual", 19, 4),
    ("hw_eta_at_vtx", 23, -9),
    ("hw_iso", 32, 2),
    ("hw_sign", 34, 1),
    ("hw_charge_valid", 35, 1),
    ("tf_muon_index", 36, 7),
    ("hw_pt_unconstrained", 53, 8),
    ("hw_dxy", 62, 2),
)
EGTAU = (("hw_et", 0, 9), ("hw_eta", 9, -8), ("hw_phi", 17, 8), ("hw_iso", 25, 2))
JET = (("hw_et", 0, 11), ("hw_eta", 11, -8), ("hw_phi", 19, 8), ("hw_displaced", 27, 1))
VECTOR = (("hw_et", 0, 12), ("hw_phi", 12, 8))
LAYOUT = {"MU": MUON, "EG": EGTAU, "TAU": EGTAU, "JET": JET}

TABLES: dict[str, Callable[[], luts.Table]] = {
    "CALO_CALO_DIFF_ETA_LUT": lambda: luts.deta("calo_calo"),
    "CALO_CALO_DIFF_PHI_LUT": lambda: luts.dphi("calo_calo"),
    "CALO_CALO_COSH_DETA_LUT": lambda: luts.cosh_deta("calo_calo"),
    "CALO_CALO_COS_DPHI_LUT": lambda: luts.cos_dphi("calo_calo"),
    "MU_MU_DIFF_ETA_LUT": lambda: luts.deta("mu_mu"),
    "MU_MU_DIFF_PHI_LUT": lambda: luts.dphi("mu_mu"),
    "MU_MU_COSH_DETA_LUT": lambda: luts.cosh_deta("mu_mu"),
    "MU_MU_COS_DPHI_LUT": lambda: luts.cos_dphi("mu_mu"),
    "CALO_MU_DIFF_ETA_LUT": lambda: luts.deta("calo_mu"),
    "CALO_MU_DIFF_PHI_LUT": lambda: luts.dphi("calo_mu"),
    "CALO_MUON_COSH_DETA_LUT": lambda: luts.cosh_deta("calo_mu"),
    "CALO_MUON_COS_DPHI_LUT": lambda: luts.cos_dphi("calo_mu"),
    "CALO_COS_PHI_LUT": lambda: luts.cos_phi("calo"),
    "CALO_SIN_PHI_LUT": lambda: luts.sin_phi("calo"),
    "MUON_COS_PHI_LUT": lambda: luts.cos_phi("mu"),
    "MUON_SIN_PHI_LUT": lambda: luts.sin_phi("mu"),
    "MU_PT_LUT": lambda: luts.pt_x10("mu"),
    "MU_UPT_LUT": lambda: luts.pt_x10("mu_unconstrained"),
    "EG_PT_LUT": lambda: luts.pt_x10("eg"),
    "TAU_PT_LUT": lambda: luts.pt_x10("tau"),
    "JET_PT_LUT": lambda: luts.pt_x10("jet"),
}
FAMILIES: dict[str, Callable[[], luts.Table]] = {
    r"(CALO|EG|TAU|JET)_ETA_CONV_2_MUON_ETA_LUT": luts.calo_eta_to_muon,
    r"(CALO|EG|TAU|JET|[EH]TM|[EH]TMHF)_PHI_CONV_2_MUON_PHI_LUT": luts.calo_phi_to_muon,
    r"([EH]TM|[EH]TMHF)_PT_LUT": lambda: luts.pt_x10("sum"),
}


def unpack(kind: str, word: int) -> dict[str, int]:
    """Fields of a word; a negative width means two's complement."""
    out = {}
    for name, low, width in LAYOUT.get(kind, VECTOR):
        value = word >> low & (1 << abs(width)) - 1
        out[name] = value - (1 << -width) if width < 0 and value >> (-width - 1) else value
    return out


def test_tables_equal_the_firmware(reference: Path) -> None:
    with np.load(reference / "cmssw" / "ugt_luts_firmware.npz") as firmware:
        for name in firmware.files:
            family = next((make for p, make in FAMILIES.items() if re.fullmatch(p, name)), None)
            table = TABLES.get(name, family)
            assert table is not None, f"no function makes {name}"
            np.testing.assert_array_equal(table(), firmware[name], err_msg=name)


def test_tables_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        luts.deta("calo_calo")[0] = 1


def test_rounding_noise_is_the_hardware_one() -> None:
    """Counts of halves rounded down; the spec page gives 52 (entry 230 is 0) and 26."""
    calo, muon = luts.deta("calo_calo"), luts.deta("mu_mu")
    half_up_calo = [(435 * n + 5) // 10 for n in range(231)]
    half_up_muon = [(10875 * n + 500) // 1000 for n in range(451)]
    assert int((calo[:231] != half_up_calo).sum()) == 52
    assert int((muon[:451] != half_up_muon).sum()) == 26
    assert calo[230] == luts.cosh_deta("calo_calo")[230] == 0


@pytest.mark.parametrize("scale", ["calo", "mu"])
def test_inverse_dr2_is_the_rounded_formula(scale: luts.Scale) -> None:
    table = luts.inverse_dr2(scale)
    muons = scale == "mu"
    assert table.shape == ((256, 192) if muons else (256, 80))
    assert table[0, 0] == 0
    for eta, phi in ((0, 1), (1, 0), (3, 7), (100, 60), (229, 72), (255, 79)):
        shift = int(muons)
        assert table[eta, phi] == slow_pair.inverse_dr2(eta << shift, phi << shift, muons)
    step, turn = (0.02175, 288) if muons else (0.0435, 144)
    exact = 1 / ((step * 5) ** 2 + (2 * math.pi / turn * 9) ** 2)
    assert abs(int(table[5, 9]) - exact * 1e5) <= 0.5


def test_every_integer_of_every_pair(reference: Path) -> None:
    names = {
        "dphi_bins": "dphi_bins",
        "dphi": "dphi_x1000",
        "cos": "cos_dphi",
        "digits": "cosh_cos_digits",
        "deta_bins": "deta_bins",
        "deta": "deta_x1000",
        "cosh": "cosh_deta",
        "dr2": "dr2_x1e6",
        "mass": "mass2_half",
        "mass_upt": "mass2_half_upt",
        "mass_trv": "mass2_half_transverse",
    }
    rows = pq.read_table(reference / "cmssw" / "ugt_pairs.parquet").to_pylist()
    assert len(rows) > 8000
    for number, row in enumerate(rows):
        kinds = KINDS[row["type_a"]], KINDS[row["type_b"]]
        a, b = unpack(kinds[0], row["word_a"]), unpack(kinds[1], row["word_b"])
        got = slow_pair.pair(kinds[0], a, kinds[1], b)
        found = {out: -1 if got[name] is None else got[name] for name, out in names.items()}
        found["pt_a_x10"] = slow_pair.pt_tenths(kinds[0], a)
        found["pt_b_x10"] = slow_pair.pt_tenths(kinds[1], b)
        assert found == {key: row[key] for key in found}, f"row {number} of ugt_pairs"


def requirement(entry: dict[str, Any]) -> model.Requirement:
    """One object of ugt_conditions.json."""

    def windows(name: str) -> tuple[model.Window, ...]:
        return tuple(model.Window(low, high) for low, high in entry[name])

    upt = entry["upt_window_hw"]
    return model.Requirement(
        object=entry["type"],
        threshold=entry["pt_min_hw"],
        eta=windows("eta_windows_hw"),
        phi=windows("phi_windows_hw"),
        index=windows("index_windows"),
        upt=model.Window(*upt) if upt else None,
        quality=entry["quality_mask"],
        isolation=entry["iso_mask"],
        impact_parameter=entry["ip_mask"],
        displaced=True if entry["displaced"] else None,
    )


def condition(entry: dict[str, Any]) -> model.Condition:
    """One entry of ugt_conditions.json as the model's value."""
    digits = 4 if any(o["type"] == "MU" for o in entry["objects"]) else 3
    scale: dict[str, tuple[Any, int]] = {"deta": ("DETA", 3), "dphi": ("DPHI", 3), "dr2": ("DR", 6)}
    for mass in ("mass2_half", "mass2_half_transverse", "sum_mass2_half"):
        scale[mass] = ("MASS", 2 + digits)
    scale["mass2_half_upt"] = ("MASSUPT", 2 + digits)
    cuts = [(*scale[c["quantity"]], c["limits"]) for c in entry["cuts"]]
    if entry["overlap_removal_dr2_x1e6"]:
        cuts.append(("ORMDR", 6, entry["overlap_removal_dr2_x1e6"]))
    return model.Condition(
        expression=entry["expression"],
        kind="single" if len(entry["objects"]) == 1 else kind_of(entry["expression"]),
        requirements=tuple(requirement(o) for o in entry["objects"]),
        cuts=tuple(
            (name, model.Limits(Decimal(low).scaleb(-shift), Decimal(high).scaleb(-shift)))
            for name, shift, (low, high) in cuts
        ),
        charge_correlation=entry["charge"],
    )


def kind_of(expression: str) -> Any:
    """Name of the function in front of the brace."""
    return expression.split("{")[0]


def crossings(reference: Path) -> list[dict[str, Any]]:
    """The 3000 crossings of ugt_events as the slow reference reads them."""
    out = []
    for row in pq.read_table(reference / "cmssw" / "ugt_events.parquet").to_pylist():
        crossing: dict[str, Any] = {
            slow_ugt.LISTS[kind]: [
                unpack(kind, row[f"{kind.lower()}{slot}"]) for slot in range(slots)
            ]
            for kind, slots in (("MU", 8), ("EG", 12), ("TAU", 12), ("JET", 12))
        }
        sums = {"hw_" + name: row[name] & 0xFFF for name in ("ett", "htt")}
        for name in ("etm", "htm", "etmhf", "htmhf"):
            sums["hw_" + name] = row[name] & 0xFFF
            sums[f"hw_{name}_phi"] = row[name] >> 12 & 0xFF
        sums["hw_mbt0hfp"], sums["hw_mbt0hfm"] = row["ett"] >> 28 & 15, row["htt"] >> 28 & 15
        out.append(crossing | {"sums": sums})
    return out


def test_every_condition_in_every_crossing(reference: Path) -> None:
    entries = json.loads((reference / "cmssw" / "ugt_conditions.json").read_text())["conditions"]
    expected = pq.read_table(reference / "cmssw" / "ugt_expected.parquet").to_pydict()
    rows = crossings(reference)
    assert len(entries) == 75
    for entry in entries:
        value = condition(entry)
        fired = [slow_ugt.evaluate_condition(value, {0: row}.__getitem__) for row in rows]
        assert sum(fired) == entry["n_true"], entry["expression"]
        assert fired == expected[entry["id"]], entry["expression"]
