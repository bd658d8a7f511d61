"""Final decision logic against a slow form of its definition."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.ugt.bits import Words, pack_bits, unpack_bits
from scout40.emulator.ugt.fdl import FinalDecision
from scout40.emulator.ugt.prescaler import Prescaler
from scout40.streams.errors import BadConfig, BadInput


def only(*algorithms: int) -> Words:
    flags = np.zeros(512, np.bool_)
    flags[list(algorithms)] = True
    return pack_bits(flags)


def crossings(n: int, first: int = 0) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    time = np.arange(first, first + n)
    return (time // 3564).astype(np.uint32), (time % 3564 + 1).astype(np.uint16)


ALL = np.full(8, 2**64 - 1, np.uint64)
ONE = np.full(512, 100, np.uint32)


def test_finor_mask_veto_mask_and_their_order() -> None:
    initial = np.stack([only(1), only(70), only(1, 511), only(511), only(), only(300)])
    orbit, bx = crossings(6)
    factors = ONE.copy()
    factors[300] = 200
    decision = FinalDecision(factors, only(1, 300), only(511)).decide(initial, orbit, bx)
    assert decision.finor.tolist() == [True, False, True, False, False, False]
    assert decision.veto.tolist() == [False, False, True, True, False, False]
    assert decision.accept.tolist() == [True, False, False, False, False, False]
    # The veto acts after the prescale: a veto algorithm that is off vetoes nothing.
    factors[511] = 0
    decision = FinalDecision(factors, only(1, 300), only(511)).decide(initial, orbit, bx)
    assert not decision.veto.any()
    assert decision.accept.tolist() == [True, False, True, False, False, False]
    assert decision.after_bx_mask is initial
    assert np.array_equal(decision.finor_mask, only(1, 300))


def test_bx_mask_acts_before_the_prescale_counts() -> None:
    mask = np.tile(ALL, (3564, 1))
    mask[3563] = only(*(i for i in range(512) if i != 9))  # bx 3564 closed for algorithm 9
    factors = np.full(512, 200, np.uint32)
    orbit, bx = crossings(4, first=3562)  # bx 3563, 3564, 1, 2
    decision = FinalDecision(factors, ALL, None, mask).decide(np.tile(only(9), (4, 1)), orbit, bx)
    assert unpack_bits(decision.after_bx_mask)[:, 9].tolist() == [True, False, True, True]
    assert decision.accept.tolist() == [False, False, True, False]


@given(st.data(), st.integers(0, 50), st.integers(0, 2**32 - 1), st.booleans())
def test_any_block_equals_the_definition_in_any_split(
    data: st.DataObject, n: int, seed: int, has_mask: bool
) -> None:
    rng = np.random.default_rng(seed)
    flags = rng.random((n, 512)) < rng.choice([0.002, 0.05, 0.6])
    finor_mask, veto_mask = rng.random(512) < 0.9, rng.random(512) < 0.01
    bx_flags = rng.random((3564, 512)) < 0.9 if has_mask else np.ones((3564, 512), np.bool_)
    factors = rng.choice(np.array([0, 100, 100, 150, 300], np.uint32), 512)
    orbit, bx = crossings(n, first=int(rng.integers(0, 10**6)))
    counter = np.zeros(512, np.int64)
    expected = np.zeros_like(flags)
    for row in range(n):
        for i in np.flatnonzero(flags[row] & bx_flags[int(bx[row]) - 1]):
            if factors[i]:
                counter[i] += 100
                expected[row, i] = counter[i] >= factors[i]
                counter[i] -= int(factors[i]) * int(expected[row, i])
    final = FinalDecision(
        factors,
        pack_bits(finor_mask),
        pack_bits(veto_mask),
        pack_bits(bx_flags) if has_mask else None,
    )
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, n), max_size=3))), n]
    parts = [
        final.decide(pack_bits(flags[a:b]), orbit[a:b], bx[a:b])
        for a, b in itertools.pairwise(edges)
    ]
    prescaled = np.vstack([part.after_prescale for part in parts])
    assert np.array_equal(unpack_bits(prescaled), expected)
    finor = (expected & finor_mask).any(axis=1)
    veto = (expected & veto_mask).any(axis=1)
    assert np.array_equal(np.concatenate([part.finor for part in parts]), finor)
    assert np.array_equal(np.concatenate([part.veto for part in parts]), veto)
    assert np.array_equal(np.concatenate([part.accept for part in parts]), finor & ~veto)


def test_column_change_between_blocks_and_resume() -> None:
    initial = np.tile(ALL, (3, 1))
    orbit, bx = crossings(3)
    final = FinalDecision(np.full(512, 500, np.uint32), ALL)
    assert not final.decide(initial, orbit, bx).accept.any()
    final.set_factors(np.full(512, 400, np.uint32))
    assert final.decide(initial, orbit, bx).accept.tolist() == [True, False, False]
    again = FinalDecision(np.full(512, 400, np.uint32), ALL, counters=np.full(512, 300, np.uint32))
    assert again.decide(initial, orbit, bx).accept.tolist() == [True, False, False]


def test_prescales_of_one_and_off_need_no_counters() -> None:
    """Across column changes, as the prescaler alone does it, also with a counter about to wrap."""
    rng = np.random.default_rng(3)
    initial = pack_bits(rng.random((40, 512)) < 0.3)
    orbit, bx = crossings(40)
    plain = rng.choice(np.array([0, 100], np.uint32), 512)
    counters = rng.choice(np.array([0, 50, 2**32 - 30], np.uint32), 512)
    finor_mask = pack_bits(rng.random(512) < 0.01)
    final = FinalDecision(plain, finor_mask, only(9), counters=counters)
    alone = Prescaler(plain, counters)
    for factors in (plain, plain, np.full(512, 250, np.uint32), plain, ONE):
        final.set_factors(factors)
        alone.set_factors(factors)
        for _ in range(2):
            decision = final.decide(initial, orbit, bx)
            passed = alone.apply(initial)
            assert np.array_equal(decision.after_prescale, passed)
            assert np.array_equal(decision.finor, (passed & finor_mask).any(axis=1))
            assert np.array_equal(decision.veto, (passed & only(9)).any(axis=1))
            assert np.array_equal(decision.accept, decision.finor & ~decision.veto)
            assert np.array_equal(final.prescaler.counters, alone.counters)
    assert decision.after_prescale is not decision.initial


def test_start_signal() -> None:
    initial = np.tile(ALL, (4, 1))
    orbit, bx = crossings(4)
    start = np.array([False, True, False, False])
    final = FinalDecision(np.full(512, 200, np.uint32), ALL)
    # Judged with the old counter in the second crossing (passes), counted from the third.
    assert final.decide(initial, orbit, bx, start).accept.tolist() == [False, True, False, True]


@pytest.mark.parametrize("wrong", [0, 3565, 65535])
def test_bx_out_of_range_is_named(wrong: int) -> None:
    orbit, bx = crossings(3)
    bx[2] = wrong
    final = FinalDecision(ONE, ALL, None, np.tile(ALL, (3564, 1)))
    with pytest.raises(BadInput, match=rf"orbit 0, bx {wrong}, field bx: .*row 2"):
        final.decide(np.zeros((3, 8), np.uint64), orbit, bx)


def test_wrong_shapes_are_refused() -> None:
    orbit, bx = crossings(3)
    final = FinalDecision(ONE, ALL)
    with pytest.raises(BadConfig, match="initial decisions"):
        final.decide(np.zeros((3, 7), np.uint64), orbit, bx)
    with pytest.raises(BadConfig, match="for 4 crossings"):
        final.decide(np.zeros((4, 8), np.uint64), orbit, bx)
    with pytest.raises(BadConfig, match="FinOR mask"):
        FinalDecision(ONE, np.zeros(7, np.uint64))
    with pytest.raises(BadConfig, match="3563 rows"):
        FinalDecision(ONE, ALL, None, np.tile(ALL, (3563, 1)))
    empty = final.decide(np.zeros((0, 8), np.uint64), orbit[:0], bx[:0])
    assert empty.accept.shape == (0,)
