"""Trigger rules against their definition: no window holds more accepts than allowed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scout40.emulator.ugt.rules import CMS_RULES, Rule, TriggerRules
from scout40.streams.errors import BadConfig, BadInput

Orbits = npt.NDArray[np.uint32]
Crossings = npt.NDArray[np.uint16]


def clock(times: npt.ArrayLike) -> tuple[Orbits, Crossings]:
    time = np.asarray(times, np.int64)
    return (time // 3564).astype(np.uint32), (time % 3564 + 1).astype(np.uint16)


def allowed(accepts: Sequence[int], now: int, rules: Sequence[Rule]) -> list[bool]:
    """Per rule: may ``now`` be accepted, by counting accepts in the window that ends there."""
    return [sum(now - w < t <= now for t in [*accepts, now]) <= n for n, w in rules]


def slow_rules(
    requests: Sequence[int], rules: Sequence[Rule]
) -> tuple[list[int], list[int], list[int]]:
    """Accepted times, refusals per rule, all accepted and refused times in turn."""
    accepts: list[int] = []
    refusals = [0] * len(rules)
    refused = []
    for now in requests:
        fine = allowed(accepts, now, rules)
        if all(fine):
            accepts.append(now)
        else:
            refused.append(now)
            refusals = [count + (not ok) for count, ok in zip(refusals, fine, strict=True)]
    return accepts, refusals, refused


def run(times: Sequence[int], request: Sequence[bool], rules: Sequence[Rule]) -> TriggerRules:
    engine = TriggerRules(rules)
    engine.apply(np.array(request, np.bool_), *clock(times))
    return engine


def test_every_crossing_asks() -> None:
    n = 3 * 3564  # windows cross the orbit boundaries
    engine = TriggerRules()
    granted = engine.apply(np.ones(n, np.bool_), *clock(np.arange(n)))
    times = np.flatnonzero(granted)
    # By hand: 3 BX apart; third after 25; fourth after 100 from the first; fifth after 240.
    assert times[:6].tolist() == [0, 3, 25, 100, 240, 243]
    for count, window in CMS_RULES:
        in_window = np.convolve(granted, np.ones(window, np.int64))
        assert in_window.max() == count
    report = engine.report()
    assert report.requests == n
    assert report.dead_bx == report.vetoed == report.blocked_crossings == n - len(times)
    assert report.elapsed_bx == n
    assert report.dead_fraction == pytest.approx(1 - len(times) / n)


@pytest.mark.parametrize(("n", "window"), [*CMS_RULES, (1, 1), (5, 2), (7, 1000)])
def test_each_rule_at_its_edge(n: int, window: int) -> None:
    for gap, passes in ((window - 1, window <= n), (window, True)):
        # n accepts in a row, then one request `gap` after the first of them.
        times = sorted({*range(n), max(gap, n)})
        granted = TriggerRules([(n, window)]).apply(np.ones(len(times), np.bool_), *clock(times))
        assert granted[:n].all()
        assert bool(granted[n]) == (passes or max(gap, n) >= window)


TIMES = st.lists(
    st.sampled_from([1, 1, 2, 3, 22, 24, 25, 26, 75, 99, 100, 101, 139, 239, 240, 241, 9999]),
    max_size=60,
).map(lambda gaps: list(itertools.accumulate(gaps, initial=3500)))
RULES = st.one_of(
    st.just(list(CMS_RULES)),
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 260)), max_size=5),
)


@given(TIMES, st.integers(0, 2**32 - 1), RULES, st.lists(st.integers(0, 60), max_size=4))
@example([3500, 3501, 3502, 3503], 0, [(1, 3)], [2])
def test_any_stream_in_any_split_equals_the_definition(
    times: list[int], seed: int, rules: list[Rule], cuts: list[int]
) -> None:
    request = np.random.default_rng(seed).random(len(times)) < 0.8
    orbit, bx = clock(times)
    engine = TriggerRules(rules)
    edges = [0, *sorted(min(cut, len(times)) for cut in cuts), len(times)]
    granted = np.concatenate(
        [engine.apply(request[a:b], orbit[a:b], bx[a:b]) for a, b in itertools.pairwise(edges)]
    )
    asked = [time for time, wanted in zip(times, request, strict=True) if wanted]
    accepts, refusals, refused = slow_rules(asked, rules)
    assert np.array(times)[granted].tolist() == accepts
    report = engine.report()
    assert report.accepted == len(accepts)
    assert report.vetoed == len(refused) == report.requests - report.accepted
    assert list(report.vetoed_by_rule) == refusals
    # Dead time by asking at every crossing of the span what would happen there.
    dead = (
        [
            now
            for now in range(times[0], times[-1] + 1)
            if not all(allowed([t for t in accepts if t < now], now, rules)) and now not in accepts
        ]
        if times[-1] - times[0] < 3000
        else None
    )
    if dead is not None:
        assert report.dead_bx == len(dead)
        assert report.blocked_crossings == len(set(dead) & set(times))
    assert report.elapsed_bx == times[-1] - times[0] + 1
    assert report.crossings == len(times)


def test_refused_requests_do_not_prolong_the_dead_time() -> None:
    granted = TriggerRules([(1, 3)]).apply(np.ones(7, np.bool_), *clock(np.arange(7)))
    assert granted.tolist() == [True, False, False, True, False, False, True]


def test_independent_rows_are_left_alone_and_said_so() -> None:
    engine = TriggerRules(independent=True)
    request = np.array([True, True, False])
    granted = engine.apply(request, *clock([50, 50, 3]))
    assert granted.tolist() == request.tolist()
    assert granted is not request
    report = engine.report()
    assert not report.applied
    assert (report.requests, report.accepted, report.vetoed) == (2, 2, 0)
    assert report.dead_fraction is None
    assert report.elapsed_bx == 0


def test_time_going_backwards_is_named_and_changes_nothing() -> None:
    engine = run([10, 20], [True, True], CMS_RULES)
    before = engine.report()
    for times in ([20], [19], [30, 30], [40, 35]):
        row = len(times) - 1
        orbit, bx = clock(times)
        with pytest.raises(BadInput, match=rf"orbit 0, bx {bx[row]}: .*row {row} of the block"):
            engine.apply(np.ones(len(times), np.bool_), orbit, bx)
        assert engine.report() == before
    assert not engine.apply(np.ones(1, np.bool_), *clock([21])).any()


def test_before_the_first_crossing_and_after_reset() -> None:
    engine = TriggerRules()
    assert engine.report().dead_fraction is None
    assert engine.apply(np.zeros(0, np.bool_), *clock([])).shape == (0,)
    top = np.array([2**32 - 1], np.uint32)
    assert engine.apply(np.ones(1, np.bool_), top, np.array([3564], np.uint16)).all()
    engine.reset()
    assert engine.apply(np.ones(1, np.bool_), *clock([0])).all()
    assert engine.report().elapsed_bx == 1


@pytest.mark.parametrize("rule", [(0, 3), (1, 0), (-1, 5), (5000, 6000), (1, 2**40)])
def test_impossible_rules_are_refused(rule: Rule) -> None:
    with pytest.raises(BadConfig, match="trigger rule"):
        TriggerRules([rule])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(BadConfig, match="for 2 crossings"):
        TriggerRules().apply(np.ones(2, np.bool_), *clock([1, 2, 3]))
    with pytest.raises(BadInput, match="bx outside"):
        TriggerRules().apply(np.ones(1, np.bool_), np.zeros(1, np.uint32), np.zeros(1, np.uint16))
