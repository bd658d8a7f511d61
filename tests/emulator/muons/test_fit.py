"""Least squares by groups against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from scout40.emulator.muons.fit import fit_groups


def test_equals_lstsq() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(3000, 5))
    group = rng.integers(-1, 4, 3000)
    weight = rng.uniform(0.5, 2.0, 3000)
    target = inputs @ rng.normal(size=5) + rng.normal(size=3000) + group
    found = fit_groups(inputs, target, weight, group, 4)
    for g in range(4):
        rows = group == g
        root = np.sqrt(weight[rows])
        expected = np.linalg.lstsq(inputs[rows] * root[:, None], target[rows] * root, rcond=None)
        assert found[g] == pytest.approx(expected[0], rel=1e-4, abs=1e-5)


def test_columns_and_groups_without_content_are_zero() -> None:
    inputs = np.zeros((10, 3))
    inputs[:, 1] = np.arange(10)
    found = fit_groups(inputs, 2 * inputs[:, 1], np.ones(10), np.zeros(10, np.int64), 2)
    assert found[0] == pytest.approx([0, 2, 0], rel=1e-5)
    assert np.array_equal(found[1], np.zeros(3))
