"""Counting decisions: per algorithm, pure, shared, overlaps. Only exact integers are kept.

So counters of any split of the same crossings merge to the same counter, in any order.
``rate_tables`` turns a counter into fractions and rates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.bits import (
    N_ALGORITHMS,
    N_WORDS,
    Flags,
    Words,
    count_bits,
    lowest_bit,
)
from scout40.emulator.ugt.fdl import CodedDecision, Decision
from scout40.emulator.ugt.repeated import (
    ACCEPTED,
    SELECTED,
    SLOTS,
    count_repeated,
    distinct_rows,
    weigh,
)
from scout40.streams.errors import BadConfig
from scout40.streams.jit import inline, njit

Counts = npt.NDArray[np.int64]

_PLANES = 16  # bits of a sliced counter; it is emptied after every tile
_TILE = 2048  # crossings whose words stay in the cache while the 8 words are counted in turn
_CHUNK = 1024  # crossings whose overlaps are counted together
_CHUNK_WORDS = _CHUNK // 64
_REPEATS = 4  # a crossing must repeat so often, on average, for distinct ones to be counted


class RateCounter:
    """Counts over crossings; blocks are added, counters are merged.

    Attributes (int64 arrays are indexed by algorithm):
        evaluated: bool (512,), algorithms whose decision is known; the others mean nothing.
        crossings, finor, vetoed, accepted: crossings seen, with FinOR, with veto, accepted.
        ruled, ruled_accepted: crossings to which trigger rules were applied, and accepts after.
        initial, prescaled: (512,) set bits before and after prescale.
        accepted_bits: (512,) set bits after prescale in crossings accepted after the rules.
        multiplicity: (513, 512); [k, i] = accepted crossings (before rules) in which exactly k
            algorithms fired in FinOR, i among them. Row 1 is the pure count.
        overlap: (512, 512), [i, j] with i > j only: crossings in which both are set after prescale.
    """

    def __init__(self, evaluated: Flags) -> None:
        flags = np.asarray(evaluated)
        if flags.shape != (N_ALGORITHMS,) or flags.dtype != np.bool_:
            raise BadConfig(f"evaluated: expected bool ({N_ALGORITHMS},), got {flags.shape}")
        self.evaluated = flags.copy()
        self.crossings = self.finor = self.vetoed = self.accepted = 0
        self.ruled = self.ruled_accepted = 0
        self.initial = np.zeros(N_ALGORITHMS, np.int64)
        self.prescaled = np.zeros(N_ALGORITHMS, np.int64)
        self.accepted_bits = np.zeros(N_ALGORITHMS, np.int64)
        self.multiplicity = np.zeros((N_ALGORITHMS + 1, N_ALGORITHMS), np.int64)
        self.overlap = np.zeros((N_ALGORITHMS, N_ALGORITHMS), np.int64)

    def add(self, decision: Decision | CodedDecision, after_rules: Flags | None = None) -> None:
        """Count the crossings of one block.

        after_rules: bool (n,), accepts after the trigger rules; None when rules were not applied.
        """
        n = len(decision.accept)
        if after_rules is not None and after_rules.shape != (n,):
            raise BadConfig(f"after_rules: shape {after_rules.shape} for {n} crossings")
        self.crossings += n
        self.accepted += int(np.count_nonzero(decision.accept))
        after = np.zeros(0, np.bool_) if after_rules is None else after_rules
        if after_rules is not None:
            self.ruled += n
            self.ruled_accepted += int(np.count_nonzero(after_rules))
        if isinstance(decision, CodedDecision):
            if self._add_coded(decision, after):
                return
            decision = decision.rows()
        self.finor += int(np.count_nonzero(decision.finor))
        self.vetoed += int(np.count_nonzero(decision.veto))
        if not self._add_repeated(decision, after):
            self._add_each(decision, after)

    def _add_repeated(self, decision: Decision, after: Flags) -> bool:
        """Count each distinct crossing once with its number; False when too few repeat."""
        initial = np.ascontiguousarray(decision.initial)
        prescaled = np.ascontiguousarray(decision.after_prescale)
        flags = decision.accept.astype(np.uint8) * np.uint8(ACCEPTED)
        if len(after):
            flags += after.astype(np.uint8) * np.uint8(SELECTED)
        rows, weights = np.empty((2, len(initial) // _REPEATS + 1), np.int64)
        slots = np.full(SLOTS, -1, np.int64)
        found = distinct_rows(initial, prescaled, flags, rows, weights, slots)
        if found < 0:
            return False
        rows, weights = rows[:found], weights[:found]
        selected = np.where(flags[rows] & SELECTED, weights, 0)
        return self._add_weighted(decision, rows, weights, selected, len(initial))

    def _add_weighted(
        self, decision: Decision, rows: Counts, weights: Counts, selected: Counts, crossings: int
    ) -> bool:
        """Count rows of a decision, each so many times; False when there are too many pairs."""
        done: bool = count_repeated(
            np.ascontiguousarray(decision.initial),
            np.ascontiguousarray(decision.after_prescale),
            decision.accept.view(np.uint8),
            decision.finor_mask,
            rows,
            weights,
            selected,
            self.initial,
            self.prescaled,
            self.accepted_bits,
            self.multiplicity,
            self.overlap,
            crossings,
            np.empty(N_ALGORITHMS, np.int64),
        )
        return done

    def _add_coded(self, decision: CodedDecision, after: Flags) -> bool:
        """As ``_add_repeated`` when the rows are known to repeat."""
        weights, selected = np.zeros((2, len(decision.table.accept)), np.int64)
        weigh(decision.codes, after, weights, selected)
        rows = np.flatnonzero(weights)
        table, weights = decision.table, weights[rows]
        if not self._add_weighted(table, rows, weights, selected[rows], len(decision.codes)):
            return False
        self.finor += int(weights[table.finor[rows]].sum())
        self.vetoed += int(weights[table.veto[rows]].sum())
        return True

    def _add_each(self, decision: Decision, after: Flags) -> None:
        planes = np.zeros(_PLANES, np.uint64)
        _count_columns(decision.initial, planes, self.initial)
        _count_columns(decision.after_prescale, planes, self.prescaled)
        _count_shares(
            decision.after_prescale, decision.accept, decision.finor_mask, self.multiplicity
        )
        columns = np.zeros((N_ALGORITHMS, _CHUNK_WORDS), np.uint64)
        places = np.zeros(N_ALGORITHMS, np.int64)
        _count_overlaps(decision.after_prescale, columns, places, self.overlap)
        if len(after):
            _count_selected(decision.after_prescale, after, self.accepted_bits)

    def merge(self, other: RateCounter) -> RateCounter:
        """A new counter of the crossings of both; they must have evaluated the same algorithms."""
        if not np.array_equal(self.evaluated, other.evaluated):
            raise BadConfig("cannot merge rates: the two evaluated different algorithms")
        merged = RateCounter(self.evaluated)
        for name in ("crossings", "finor", "vetoed", "accepted", "ruled", "ruled_accepted"):
            setattr(merged, name, getattr(self, name) + getattr(other, name))
        for name in ("initial", "prescaled", "accepted_bits", "multiplicity", "overlap"):
            np.add(getattr(self, name), getattr(other, name), out=getattr(merged, name))
        return merged

    @property
    def pure(self) -> Counts:
        """(512,) accepted crossings (before rules) that this algorithm alone caused."""
        return np.array(self.multiplicity[1], np.int64)

    def shared(self, power: int = 1) -> npt.NDArray[np.float64]:
        """(512,) sum over accepted crossings of (1 / number of algorithms that fired)^power."""
        weights = np.zeros(N_ALGORITHMS + 1)
        weights[1:] = 1.0 / np.arange(1, N_ALGORITHMS + 1) ** power
        return np.asarray(weights @ self.multiplicity, np.float64)

    def full_overlap(self) -> Counts:
        """(512, 512) symmetric overlap counts, the algorithm's own count on the diagonal."""
        return self.overlap + self.overlap.T + np.diag(self.prescaled)


@njit
def _count_columns(words: Words, planes: Words, counts: Counts) -> None:
    """Add the number of set bits per algorithm to ``counts``.

    Counters are sliced: bit b of ``planes[p]`` is bit p of the count of algorithm b of the word.
    Eight rows go through a tree of full adders first, so that most rows touch few planes.
    """
    zero = np.uint64(0)
    for first in range(0, words.shape[0], _TILE):
        last = min(first + _TILE, words.shape[0])
        whole = last - (last - first) % 8
        for word in range(N_WORDS):
            ones = zero
            twos = zero
            fours = zero
            for row in range(first, whole, 8):
                ones, two_a = _add_pair(ones, words[row, word], words[row + 1, word])
                ones, two_b = _add_pair(ones, words[row + 2, word], words[row + 3, word])
                twos, four_a = _add_pair(twos, two_a, two_b)
                ones, two_a = _add_pair(ones, words[row + 4, word], words[row + 5, word])
                ones, two_b = _add_pair(ones, words[row + 6, word], words[row + 7, word])
                twos, four_b = _add_pair(twos, two_a, two_b)
                fours, carry = _add_pair(fours, four_a, four_b)
                _ripple(planes, 3, carry)
            planes[0] = ones
            planes[1] = twos
            planes[2] = fours
            for row in range(whole, last):
                _ripple(planes, 0, words[row, word])
            for plane in range(planes.shape[0]):
                left = planes[plane]
                while left != zero:
                    counts[word * 64 + lowest_bit(left)] += np.int64(1) << plane
                    left &= left - np.uint64(1)
                planes[plane] = zero


@inline
def _add_pair(total: np.uint64, a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """64 full adders: sum and carry of three words."""
    half = total ^ a
    return half ^ b, (total & a) | (half & b)


@inline
def _ripple(planes: Words, first: int, carry: np.uint64) -> None:
    """Add ``carry`` to the sliced counters, from plane ``first`` on."""
    plane = first
    while carry != np.uint64(0):
        value = planes[plane]
        planes[plane] = value ^ carry
        carry &= value
        plane += 1


@njit
def _count_selected(words: Words, selected: Flags, counts: Counts) -> None:
    """Add the set bits of the selected crossings, which are few."""
    for row in range(words.shape[0]):
        if selected[row]:
            for word in range(N_WORDS):
                left = words[row, word]
                while left != np.uint64(0):
                    counts[word * 64 + lowest_bit(left)] += 1
                    left &= left - np.uint64(1)


@njit
def _count_shares(words: Words, accept: Flags, mask: Words, multiplicity: Counts) -> None:
    for row in range(words.shape[0]):
        if accept[row]:
            fired = np.int64(0)
            for word in range(N_WORDS):
                fired += count_bits(words[row, word] & mask[word])
            for word in range(N_WORDS):
                left = words[row, word] & mask[word]
                while left != np.uint64(0):
                    multiplicity[fired, word * 64 + lowest_bit(left)] += 1
                    left &= left - np.uint64(1)


@njit
def _count_overlaps(words: Words, columns: Words, places: Counts, overlap: Counts) -> None:
    """Add pairs of set bits, i > j, to ``overlap``; chooses the cheaper way for every chunk.

    Sparse crossings: a loop over pairs. Dense ones: the chunk is turned into one bit column per
    algorithm, and a pair's count is the number of bits of the AND of two columns.
    """
    rows = words.shape[0]
    for first in range(0, rows, _CHUNK):
        last = min(first + _CHUNK, rows)
        pairs = np.int64(0)
        for row in range(first, last):
            fired = np.int64(0)
            for word in range(N_WORDS):
                if words[row, word] != np.uint64(0):
                    fired += count_bits(words[row, word])
            pairs += fired * (fired - 1) // 2
        active = 0
        for word in range(N_WORDS):
            either = np.uint64(0)
            for row in range(first, last):
                either |= words[row, word]
            while either != np.uint64(0):
                places[active] = word * 64 + lowest_bit(either)
                active += 1
                either &= either - np.uint64(1)
        if pairs <= active * (active - 1) // 2 * _CHUNK_WORDS:
            _overlaps_by_pair(words, first, last, places, overlap)
        else:
            _overlaps_by_column(words, first, last, columns, active, places, overlap)


@njit
def _overlaps_by_pair(words: Words, first: int, last: int, places: Counts, overlap: Counts) -> None:
    for row in range(first, last):
        fired = 0
        for word in range(N_WORDS):
            left = words[row, word]
            while left != np.uint64(0):
                algorithm = word * 64 + lowest_bit(left)
                for other in range(fired):
                    overlap[algorithm, places[other]] += 1
                places[fired] = algorithm
                fired += 1
                left &= left - np.uint64(1)


@njit
def _overlaps_by_column(
    words: Words,
    first: int,
    last: int,
    columns: Words,
    active: int,
    places: Counts,
    overlap: Counts,
) -> None:
    """``places[:active]`` are the algorithms set anywhere in the chunk, rising."""
    for place in range(active):
        for part in range(_CHUNK_WORDS):
            columns[places[place], part] = np.uint64(0)
    for row in range(first, last):
        part = (row - first) // 64
        bit = np.uint64(1) << np.uint64((row - first) % 64)
        for word in range(N_WORDS):
            left = words[row, word]
            while left != np.uint64(0):
                columns[word * 64 + lowest_bit(left), part] |= bit
                left &= left - np.uint64(1)
    for place in range(active):
        column = places[place]
        for other in range(place):
            both = np.int64(0)
            for part in range(_CHUNK_WORDS):
                both += count_bits(columns[column, part] & columns[places[other], part])
            overlap[column, places[other]] += both
