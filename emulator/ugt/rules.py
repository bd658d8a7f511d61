"""Trigger rules: at most n accepts in any window of w consecutive bunch crossings.

CMS uses 1 in 3, 2 in 25, 3 in 100 and 4 in 240 (as checked in the CMS software's prefire veto
filter). Time is absolute, orbit * 3564 + bx, so windows cross orbit boundaries. A request at time
t is refused by rule (n, w) when the n-th last accept is less than w crossings back; a refused
request is lost, it does not start a window. Buffer back-pressure is not modelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.bits import Flags
from scout40.emulator.ugt.fdl import check_crossings
from scout40.streams.block import ORBIT_BX
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.jit import njit, pointer

Rule = tuple[int, int]

CMS_RULES: tuple[Rule, ...] = ((1, 3), (2, 25), (3, 100), (4, 240))
"""(accepts, window in BX)."""

_MAX_ACCEPTS = 1024
_MAX_WINDOW = 1 << 31
_NEVER = -(1 << 40)  # an accept further back than any window reaches

# Places in the int64 state vector of the kernel.
_FIRST, _LAST, _FREE = 0, 1, 2
_ROWS, _REQUESTS, _ACCEPTED, _VETOED, _BLOCKED_ROWS, _DEAD_BX = 3, 4, 5, 6, 7, 8
_STATE_SIZE = 9


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What the rules did since the start.

    applied:
        False: the rows are independent crossings without a common time, so no rule was applied;
        ``accepted`` equals ``requests`` and there is no dead time to speak of.
    crossings, requests, accepted, vetoed:
        rows seen, accepts asked for, granted, refused; requests = accepted + vetoed.
    vetoed_by_rule:
        per rule, the refused requests that broke it; one request can break several rules.
    blocked_crossings:
        rows in which a request was, or would have been, refused.
    dead_bx, elapsed_bx:
        crossings of absolute time from the first to the last row, refused and all, whether or not
        the data has a row for them.
    """

    rules: tuple[Rule, ...]
    applied: bool
    crossings: int
    requests: int
    accepted: int
    vetoed: int
    vetoed_by_rule: tuple[int, ...]
    blocked_crossings: int
    dead_bx: int
    elapsed_bx: int

    @property
    def dead_fraction(self) -> float | None:
        """Dead part of the elapsed time; None when rules were not applied or nothing was seen."""
        if not self.applied or self.elapsed_bx == 0:
            return None
        return self.dead_bx / self.elapsed_bx


class TriggerRules:
    """Applies rules to a stream of accepts; history is carried from block to block."""

    def __init__(self, rules: Sequence[Rule] = CMS_RULES, *, independent: bool = False) -> None:
        """rules: (n, w) pairs in any order. independent: rows have no time; rules are skipped."""
        for n, window in rules:
            if not (1 <= n <= _MAX_ACCEPTS and 1 <= window <= _MAX_WINDOW):
                raise BadConfig(
                    f"trigger rule {n} in {window} BX: need 1 <= n <= {_MAX_ACCEPTS} "
                    f"and 1 <= window <= {_MAX_WINDOW}"
                )
        self._rules = tuple((int(n), int(window)) for n, window in rules)
        self._independent = independent
        self._sizes = np.array([n for n, _ in self._rules], np.int64)
        self._windows = np.array([window for _, window in self._rules], np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget history and counters."""
        depth = max((n for n, _ in self._rules), default=1)
        self._recent = np.full(depth, _NEVER, np.int64)  # times of accepts, newest first
        self._state = np.zeros(_STATE_SIZE, np.int64)
        self._state[_FIRST] = self._state[_LAST] = self._state[_FREE] = -1
        self._by_rule = np.zeros(len(self._rules), np.int64)

    def apply(
        self, request: Flags, orbit: npt.NDArray[np.uint32], bx: npt.NDArray[np.uint16]
    ) -> Flags:
        """Requested accepts, bool (n,) -> granted accepts, bool (n,).

        orbit, bx: uint32 and uint16 (n,), strictly rising in time within and between blocks;
        crossings without a row had no request. Raises BadInput otherwise, and then nothing of the
        block counts. Independent rows come back unchanged and may be in any order.
        """
        wanted = np.ascontiguousarray(request, np.bool_)
        if wanted.ndim != 1:
            raise BadConfig(f"requests: expected one axis, got shape {wanted.shape}")
        check_crossings(wanted.shape[0], orbit, bx)
        if self._independent:
            count = int(np.count_nonzero(wanted))
            self._state[_ROWS] += wanted.shape[0]
            self._state[_REQUESTS] += count
            self._state[_ACCEPTED] += count
            return wanted.copy()
        recent, state, by_rule = self._recent.copy(), self._state.copy(), self._by_rule.copy()
        granted = np.zeros(wanted.shape[0], np.bool_)
        row = _apply(
            wanted, np.ascontiguousarray(orbit), np.ascontiguousarray(bx), self._sizes,
            self._windows, recent, state, by_rule, granted,
        )  # fmt: skip
        if row >= 0:
            raise BadInput(
                f"crossings are not in time order at row {row} of the block; trigger rules need "
                "strictly rising time (or rows declared independent)",
                orbit=int(orbit[row]),
                bx=int(bx[row]),
            )
        self._recent, self._state, self._by_rule = recent, state, by_rule
        return granted

    def report(self) -> RuleReport:
        """Counters since the start."""
        state = [int(value) for value in self._state]
        # Dead time is booked when it is caused; the part after the last row is not over yet.
        ahead = max(0, state[_FREE] - 1 - state[_LAST])
        elapsed = state[_LAST] - state[_FIRST] + 1 if state[_FIRST] >= 0 else 0
        return RuleReport(
            rules=self._rules,
            applied=not self._independent,
            crossings=state[_ROWS],
            requests=state[_REQUESTS],
            accepted=state[_ACCEPTED],
            vetoed=state[_VETOED],
            vetoed_by_rule=tuple(int(value) for value in self._by_rule),
            blocked_crossings=state[_BLOCKED_ROWS],
            dead_bx=state[_DEAD_BX] - ahead,
            elapsed_bx=elapsed,
        )


@njit
def _apply(
    request: Flags,
    orbit: npt.NDArray[np.uint32],
    bx: npt.NDArray[np.uint16],
    sizes: npt.NDArray[np.int64],
    windows: npt.NDArray[np.int64],
    recent: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    by_rule: npt.NDArray[np.int64],
    granted: Flags,
) -> int:
    """Returns -1, or the first row that is not later than the one before it."""
    rows, rules, depth = request.shape[0], sizes.shape[0], recent.shape[0]
    # In these small loops an index into an array costs more than what is done with the number.
    size, window, times = pointer(sizes), pointer(windows), pointer(recent)
    last, free, blocked_rows = state[_LAST], state[_FREE], state[_BLOCKED_ROWS]
    requests, vetoed, dead = np.int64(0), np.int64(0), np.int64(0)
    for row in range(rows):
        now = np.int64(orbit[row]) * ORBIT_BX + bx[row]
        if now <= last:
            return row
        last = now
        blocked = now < free
        blocked_rows += blocked
        if not request[row]:
            continue
        requests += 1
        if blocked:
            vetoed += 1
            for rule in range(rules):
                by_rule[rule] += now - times[size[rule] - 1] < window[rule]
            continue
        granted[row] = True
        for place in range(depth - 1, 0, -1):
            times[place] = times[place - 1]
        times[0] = now
        free = now + 1
        for rule in range(rules):
            free = max(free, times[size[rule] - 1] + window[rule])
        dead += free - now - 1
    if rows and state[_FIRST] < 0:
        state[_FIRST] = np.int64(orbit[0]) * ORBIT_BX + bx[0]
    state[_LAST], state[_FREE], state[_BLOCKED_ROWS] = last, free, blocked_rows
    state[_ROWS] += rows
    state[_REQUESTS] += requests
    state[_VETOED] += vetoed
    state[_ACCEPTED] += requests - vetoed
    state[_DEAD_BX] += dead
    return -1
