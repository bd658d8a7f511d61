"""Latencies of a live run as HDR histograms: percentiles with three digits, whatever the range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hdrh.histogram import HdrHistogram

from scout40.streams.snapshot import LatencyState

NAMES = ("feed_to_decision", "decision_to_disk", "total")
"""From the send time of a message to its decisions; from there to the file (given to the operating
system, not yet forced to disk); both together."""
_LOWEST_US, _HIGHEST_US, _DIGITS = 1, 3_600_000_000, 3


@dataclass
class Latencies:
    """One histogram a name, in microseconds.

    negative: values below 0, counted as 1 microsecond: the clocks of feed and consumer differ, or
    one of them was set.
    """

    negative: int = 0
    _histograms: dict[str, HdrHistogram] = field(
        default_factory=lambda: {
            name: HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS) for name in NAMES
        }
    )

    def record(self, name: str, nanoseconds: Sequence[int]) -> None:
        """One value a message."""
        histogram = self._histograms[name]
        for value in nanoseconds:
            self.negative += value < 0
            histogram.record_value(min(max(value // 1000, _LOWEST_US), _HIGHEST_US))

    def states(self) -> dict[str, LatencyState]:
        """Percentiles in milliseconds, of the names with values."""
        return {name: _state(h) for name, h in self._histograms.items() if h.get_total_count()}


def _state(histogram: HdrHistogram) -> LatencyState:
    # The library walks over its 23,552 counters in Python, for each histogram.
    total = np.cumsum(np.frombuffer(histogram.counts, np.dtype(histogram.counts._type_)))
    wanted = [histogram.get_target_count_at_percentile(p) for p in (50.0, 90.0, 99.0, 99.9)]
    at = [
        histogram.get_highest_equivalent_value(histogram.get_value_from_index(index)) / 1000
        for index in np.searchsorted(total, wanted).tolist()
    ]
    return LatencyState(
        p50=at[0], p90=at[1], p99=at[2], p999=at[3],
        max=histogram.get_max_value() / 1000, count=histogram.get_total_count(),
    )  # fmt: skip
