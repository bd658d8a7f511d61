"""Rate counters against plain counting, and the tables made of them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.emulator.ugt.bits import pack_bits, unpack_bits
from scout40.emulator.ugt.fdl import Decision, FinalDecision
from scout40.emulator.ugt.model import Algorithm, Leaf, Menu
from scout40.emulator.ugt.rate_tables import (
    overlap_table,
    rate_table,
    totals_table,
    wilson_error,
)
from scout40.emulator.ugt.rates import RateCounter
from scout40.streams.errors import BadConfig

Flags = npt.NDArray[np.bool_]
KNOWN = np.ones(512, np.bool_)
ALL = pack_bits(KNOWN)
FIELDS = ("initial", "prescaled", "accepted_bits", "multiplicity", "overlap")
TOTALS = ("crossings", "finor", "vetoed", "accepted", "ruled", "ruled_accepted")


def decide(flags: Flags, factor: int = 100, veto: int | None = None) -> Decision:
    n = len(flags)
    veto_mask = pack_bits(np.arange(512) == veto)
    final = FinalDecision(np.full(512, factor, np.uint32), ALL, veto_mask)
    return final.decide(pack_bits(flags), np.zeros(n, np.uint32), np.ones(n, np.uint16))


def part(decision: Decision, low: int, high: int) -> Decision:
    names = [field.name for field in dataclasses.fields(Decision) if field.name != "finor_mask"]
    cut = {name: getattr(decision, name)[low:high] for name in names}
    return dataclasses.replace(decision, **cut)


def same(one: RateCounter, other: RateCounter) -> bool:
    return all(np.array_equal(getattr(one, f), getattr(other, f)) for f in FIELDS) and all(
        getattr(one, t) == getattr(other, t) for t in TOTALS
    )


def random_flags(rng: np.random.Generator, n: int) -> Flags:
    """Crossings of very different density, some empty, some columns never used."""
    density = rng.choice([0.0, 0.002, 0.01, 0.2, 0.7], (n, 1))
    used = rng.random(512) < rng.choice([0.05, 0.5, 1.0])
    return np.asarray((rng.random((n, 512)) < density) & used)


@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_counts_equal_plain_counting(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    flags = random_flags(rng, n)
    decision = decide(flags, veto=int(rng.integers(512)))
    after = decision.accept & (rng.random(n) < 0.5)
    counter = RateCounter(KNOWN)
    counter.add(decision, after)
    number = flags.sum(axis=1)
    assert np.array_equal(counter.initial, flags.sum(axis=0))
    assert np.array_equal(counter.prescaled, flags.sum(axis=0))
    assert np.array_equal(counter.accepted_bits, flags[after].sum(axis=0))
    assert np.array_equal(counter.full_overlap(), flags.T.astype(np.int64) @ flags)
    alone = flags[decision.accept & (number == 1)].sum(axis=0)
    assert np.array_equal(counter.pure, alone)
    shares = (flags[decision.accept].T / np.maximum(number[decision.accept], 1)).sum(axis=1)
    assert counter.shared() == pytest.approx(shares)
    assert counter.shared().sum() == pytest.approx(int(decision.accept.sum()))
    assert counter.accepted == int(decision.accept.sum())
    assert counter.ruled_accepted == int(after.sum())


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1023, 1024, 1025, 2047, 2049, 5000])
@pytest.mark.parametrize("density", [0.003, 0.3])
def test_large_blocks_both_ways_of_counting_pairs(n: int, density: float) -> None:
    rng = np.random.default_rng(n)
    flags = rng.random((n, 512)) < density
    counter = RateCounter(KNOWN)
    counter.add(decide(flags))
    assert np.array_equal(counter.initial, flags.sum(axis=0))
    whole = flags.astype(np.float64)
    assert np.array_equal(counter.full_overlap(), (whole.T @ whole).astype(np.int64))


@pytest.mark.parametrize("distinct", [1, 3, 40, 700, 2000])
@pytest.mark.parametrize("density", [0.01, 0.6])
def test_crossings_that_repeat(distinct: int, density: float) -> None:
    """Few, many, and so many kinds that they take each other's place; equal but for one flag."""
    rng = np.random.default_rng(distinct)
    kinds = rng.random((distinct, 512)) < density
    flags = kinds[rng.integers(0, distinct, 5000)]
    decision = decide(flags, factor=250, veto=int(rng.integers(512)))
    accept = decision.accept & (rng.random(5000) < 0.7)
    decision = dataclasses.replace(decision, accept=accept)
    after = accept & (rng.random(5000) < 0.3)
    counter = RateCounter(KNOWN)
    counter.add(decision, after)
    counter.add(decision)
    passed = unpack_bits(decision.after_prescale).astype(np.int64)
    number = passed.sum(axis=1)
    assert np.array_equal(counter.initial, 2 * flags.sum(axis=0))
    assert np.array_equal(counter.accepted_bits, passed[after].sum(axis=0))
    whole = passed.astype(np.float64)
    assert np.array_equal(counter.full_overlap(), (2 * whole.T @ whole).astype(np.int64))
    for k in (1, 2, *np.unique(number)[-3:]):
        wanted = 2 * passed[accept & (number == k)].sum(axis=0)
        assert np.array_equal(counter.multiplicity[k], wanted)
    assert counter.multiplicity[1:].sum(axis=1) @ (1 / np.arange(1, 513)) == pytest.approx(
        2 * int((accept & (number > 0)).sum())
    )


def test_all_512_bits_in_every_crossing() -> None:
    counter = RateCounter(KNOWN)
    counter.add(decide(np.ones((3000, 512), np.bool_)))
    assert (counter.full_overlap() == 3000).all()
    assert (counter.multiplicity[512] == 3000).all()
    assert int(counter.multiplicity[:512].sum()) == 0


@given(st.integers(0, 60), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=4))
def test_blocks_and_merges_in_any_order_are_the_same(n: int, seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    decision = decide(random_flags(rng, n), factor=150)
    after = decision.accept & (rng.random(n) < 0.5)
    whole = RateCounter(KNOWN)
    whole.add(decision, after)
    added = RateCounter(KNOWN)
    counters = []
    for low, high in itertools.pairwise([0, *sorted(min(cut, n) for cut in cuts), n]):
        added.add(part(decision, low, high), after[low:high])
        counters.append(RateCounter(KNOWN))
        counters[-1].add(part(decision, low, high), after[low:high])
    assert same(whole, added)
    left = RateCounter(KNOWN)
    for counter in counters:
        left = left.merge(counter)
    right = RateCounter(KNOWN)
    for counter in reversed(counters):
        right = counter.merge(right)
    assert same(whole, left)
    assert same(whole, right)


def test_prescale_is_between_the_two_counts() -> None:
    flags = np.zeros((10, 512), np.bool_)
    flags[:, [4, 400]] = True
    counter = RateCounter(KNOWN)
    counter.add(decide(flags, factor=250))
    assert counter.initial[[4, 400]].tolist() == [10, 10]
    assert counter.prescaled[[4, 400]].tolist() == [4, 4]
    assert counter.full_overlap()[4, 400] == 4


def test_only_the_same_evaluation_merges() -> None:
    other = KNOWN.copy()
    other[3] = False
    with pytest.raises(BadConfig, match="different algorithms"):
        RateCounter(KNOWN).merge(RateCounter(other))
    with pytest.raises(BadConfig, match="evaluated"):
        RateCounter(KNOWN[:3])
    with pytest.raises(BadConfig, match="after_rules"):
        RateCounter(KNOWN).add(decide(np.zeros((3, 512), np.bool_)), np.zeros(2, np.bool_))


# ---------------------------------------------------------------- tables

NAMES = {2: "L1_A", 70: "L1_B", 300: "L1_AXO", 511: "L1_C"}
MENU = Menu("m", tuple(Algorithm(i, n, "", Leaf(0)) for i, n in NAMES.items()), (), digest="d")


def example_counter(rules: bool = True) -> RateCounter:
    """8 crossings: A alone in 2, A and B in 2, C in 1 (vetoed), none in 3; AXO unknown."""
    flags = np.zeros((8, 512), np.bool_)
    flags[:4, 2] = True
    flags[2:4, 70] = True
    flags[4, 511] = True
    known = KNOWN.copy()
    known[300] = False
    counter = RateCounter(known)
    decision = decide(flags, veto=511)
    after = np.zeros(8, np.bool_)
    after[[0, 3]] = True
    counter.add(decision, after if rules else None)
    return counter


def test_rate_table() -> None:
    factors = np.full(512, 100, np.uint32)
    factors[511] = 150
    table = rate_table(example_counter(), MENU, 2000, factors)
    rows = {row["name"]: row for row in table.to_pylist()}
    full = 2000 * 11.2455  # kHz
    assert rows["L1_A"]["count_initial"] == 4
    assert rows["L1_A"]["count_accepted"] == 2
    assert rows["L1_A"]["count_pure"] == 2
    assert rows["L1_A"]["fraction_prescaled"] == 0.5
    assert rows["L1_A"]["rate_prescaled_khz"] == pytest.approx(full / 2)
    assert rows["L1_A"]["rate_proportional_khz"] == pytest.approx(full * 3 / 8)
    assert rows["L1_B"]["rate_proportional_khz"] == pytest.approx(full * 1 / 8)
    assert rows["L1_B"]["rate_pure_khz"] == 0
    assert rows["L1_C"]["count_prescaled"] == 1
    assert rows["L1_C"]["count_pure"] == 0  # vetoed crossings were caused by nobody
    assert rows["L1_C"]["prescale"] == 1.5
    # The mean share of A over 8 crossings: 1, 1, 1/2, 1/2, 0 ...
    spread = np.std([1, 1, 0.5, 0.5, 0, 0, 0, 0]) / np.sqrt(8)
    assert rows["L1_A"]["rate_proportional_khz_error"] == pytest.approx(full * spread)
    unknown = rows["L1_AXO"]
    assert unknown["evaluated"] is False
    empty = {name for name, value in unknown.items() if value is None}
    assert empty == {name for name in table.column_names if "count" in name or "_" in name}
    assert table.schema.metadata[b"crossings"] == b"8"
    assert table.schema.metadata[b"n_bunches"] == b"2000"
    for column in table.schema:
        assert column.metadata[b"description"]
    assert table.schema.field("rate_pure_khz").metadata[b"unit"] == b"kHz"


def test_without_rules_or_crossings_there_are_nulls_not_zeros() -> None:
    table = rate_table(example_counter(rules=False), MENU, 1)
    assert table["count_accepted"].null_count == table["rate_accepted_khz"].null_count == 4
    assert table["prescale"].null_count == 4
    assert table["count_initial"].null_count == 1
    mixed = rate_table(example_counter().merge(example_counter(rules=False)), MENU, 1)
    assert mixed["count_accepted"].null_count == 4
    nothing = rate_table(RateCounter(KNOWN), MENU, 1)
    assert nothing["count_initial"].to_pylist() == [0, 0, 0, 0]
    assert nothing["fraction_initial"].null_count == nothing["rate_pure_khz"].null_count == 4
    assert totals_table(RateCounter(KNOWN), MENU, 1)["rate_khz"].null_count == 4


def test_totals_table() -> None:
    rows = {row["stage"]: row for row in totals_table(example_counter(), MENU, 3564).to_pylist()}
    counts = {stage: row["count"] for stage, row in rows.items()}
    assert counts == {"finor": 5, "veto": 1, "accepted": 4, "after_rules": 2}
    assert rows["accepted"]["rate_khz"] == pytest.approx(3564 * 11.2455 / 2)


def test_overlap_table() -> None:
    table = overlap_table(example_counter(), MENU)
    assert table.num_rows == 10
    rows = {(row["first_name"], row["second_name"]): row for row in table.to_pylist()}
    assert rows["L1_A", "L1_A"]["count"] == 4
    assert rows["L1_A", "L1_B"]["count"] == 2
    assert rows["L1_A", "L1_B"]["fraction_of_first"] == 0.5
    assert rows["L1_A", "L1_B"]["fraction_of_second"] == 1
    assert rows["L1_A", "L1_C"]["count"] == 0
    unknown = [row["count"] for names, row in rows.items() if "L1_AXO" in names]
    assert unknown == [None] * 4
    assert pa.types.is_dictionary(table.schema.field("first_name").type)


@pytest.mark.parametrize("bunches", [0, -1, 3565])
def test_impossible_bunches_are_refused(bunches: int) -> None:
    with pytest.raises(BadConfig, match=r"1\.\.3564"):
        rate_table(example_counter(), MENU, bunches)


@given(st.integers(1, 10**6), st.data())
def test_wilson_error_covers_the_root_of_its_equation(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    error = float(wilson_error(count, total))
    p = count / total
    centre = (p + 0.5 / total) / (1 + 1 / total)
    for edge in (centre - error, centre + error):  # (p - edge)^2 = edge (1 - edge) / n
        assert (p - edge) ** 2 == pytest.approx(edge * (1 - edge) / total, rel=1e-6, abs=1e-12)
    assert error > 0
