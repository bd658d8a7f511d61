"""Timing that compares like with like: contenders take turns, medians are reported."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Measure:
    """One line of a benchmark.

    value, peer: speeds in ``unit``, ours and that of ``peer_name``. ratio: what ``limit`` is
    about when ``limit_on`` is "ratio"; else the limit is about the value itself. None: no limit.
    detail: what was measured.
    """

    name: str
    value: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    ratio: float | None = None
    limit: float | None = None
    bound: Literal["at least", "at most"] = "at least"
    limit_on: Literal["ratio", "value"] = "ratio"
    detail: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the limit is met; None without one."""
        measured = self.ratio if self.limit_on == "ratio" else self.value
        if self.limit is None or measured is None:
            return None
        return measured >= self.limit if self.bound == "at least" else measured <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "holds": self.holds}


def interleaved(contenders: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Median seconds of each contender; every round runs all of them once, after a warm-up."""
    for contender in contenders:
        contender()
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for contender, taken in zip(contenders, times, strict=True):
            start = time.perf_counter()
            contender()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]
