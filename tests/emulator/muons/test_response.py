"""The frozen numbers of the response."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from scout40.emulator.muons.response import from_values, presets, response
from scout40.streams.errors import BadConfig


def test_presets_are_frozen() -> None:
    assert presets() == ("paper", "2018")
    assert response("paper").smear == (0.09, 0.13, 0.17)
    assert response("2018").smear == (0.13, 0.20, 0.27)
    assert response("paper").digest() != response("2018").digest()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("smear", [0.1, 0.2], "expected 3"),
        ("stations_inefficiency", "much", "expected a number"),
        ("stations_inefficiency", [0.1], "expected float"),
        ("finder_quality", [4, 8, 12.5], "expected an integer"),
        ("calibration_fit", 10**9, "expected 0..10000000"),
        ("extrapolation_tables", "none", "expected one of"),
        ("unheard_of", 1, "unknown or missing: unheard_of"),
    ],
)
def test_wrong_values_are_named(name: str, value: Any, text: str) -> None:
    with pytest.raises(BadConfig, match=text):
        from_values({**asdict(response("paper")), name: value})


def test_unknown_preset() -> None:
    with pytest.raises(BadConfig, match="expected one of paper, 2018"):
        response("2019")
