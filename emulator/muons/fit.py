"""Least squares by groups, with the same bits whatever the number of threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.jit import njit

Array = npt.NDArray[np.float64]

_RIDGE = 1e-6


def fit_groups(inputs: Array, target: Array, weight: Array, group: Any, groups: int) -> Array:
    """Coefficients (groups, m) of target = inputs @ coefficients, for every group.

    inputs: (n, m). target, weight: (n,). group: int (n,), 0..groups-1; negative rows are left out.
    Columns that are 0 in a whole group get the coefficient 0. A ridge of 1e-6 of the diagonal
    keeps the rest solvable.
    """
    m = inputs.shape[1]
    out = np.zeros((groups, m))
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(groups + 1))
    _fit(inputs[order], target[order], weight[order], ends, np.empty((m, m + 1)), out)
    return out


@njit
def _fit(inputs: Any, target: Any, weight: Any, ends: Any, work: Any, out: Any) -> None:
    m = inputs.shape[1]
    for g in range(len(out)):
        for i in range(m):
            for j in range(m + 1):
                work[i, j] = 0.0
        for row in range(ends[g], ends[g + 1]):
            for i in range(m):
                left = weight[row] * inputs[row, i]
                for j in range(i + 1):
                    work[i, j] += left * inputs[row, j]
                work[i, m] += left * target[row]
        _solve(work, m)
        for i in range(m):
            out[g, i] = work[i, m]


@njit
def _solve(a: Any, m: int) -> None:
    """Cholesky, in place: lower triangle of ``a``, right side and result in column m."""
    for j in range(m):
        total = a[j, j] * (1.0 + _RIDGE)
        for k in range(j):
            total -= a[j, k] * a[j, k]
        a[j, j] = math.sqrt(total) if total > 0.0 else 0.0
        for i in range(j + 1, m):
            part = a[i, j]
            for k in range(j):
                part -= a[i, k] * a[j, k]
            a[i, j] = part / a[j, j] if a[j, j] > 0.0 else 0.0
    for i in range(m):
        part = a[i, m]
        for k in range(i):
            part -= a[i, k] * a[k, m]
        a[i, m] = part / a[i, i] if a[i, i] > 0.0 else 0.0
    for i in range(m - 1, -1, -1):
        part = a[i, m]
        for k in range(i + 1, m):
            part -= a[k, i] * a[k, m]
        a[i, m] = part / a[i, i] if a[i, i] > 0.0 else 0.0
