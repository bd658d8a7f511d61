"""Final decision logic: BX mask, prescale, final OR and veto.

Order as in the firmware (fdl.tex of mp7_ugt_legacy): an algorithm bit is masked by crossing,
then prescaled; FinOR is the OR of the prescaled bits under the FinOR mask, the veto the OR of the
prescaled bits under the veto mask; a crossing is accepted when FinOR is set and no veto is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt.bits import N_WORDS, Flags, Words, checked_mask, checked_words
from scout40.emulator.ugt.lanes import alike, both, load, nothing, store
from scout40.emulator.ugt.prescaler import Factors, Prescaler
from scout40.streams.block import ORBIT_BX
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.jit import njit, pointer

_ALL = np.full(N_WORDS, np.iinfo(np.uint64).max, np.uint64)


@dataclass(frozen=True, slots=True)
class Decision:
    """Decisions of n crossings, before the trigger rules.

    initial, after_bx_mask, after_prescale:
        uint64 (n, 8) decision words; the first two are the same array when there is no BX mask.
    finor, veto, accept:
        bool (n,); ``accept`` is ``finor & ~veto``.
    finor_mask:
        uint64 (8,), the algorithms that may set FinOR.
    """

    initial: Words
    after_bx_mask: Words
    after_prescale: Words
    finor: Flags
    veto: Flags
    accept: Flags
    finor_mask: Words

    def rows(self, chosen: npt.NDArray[np.signedinteger] | None = None) -> Decision:
        """The chosen crossings, by index; None: all."""
        if chosen is None:
            return self
        initial = masked = self.initial[chosen]
        if self.after_bx_mask is not self.initial:
            masked = self.after_bx_mask[chosen]
        return Decision(
            initial, masked, self.after_prescale[chosen],
            self.finor[chosen], self.veto[chosen], self.accept[chosen], self.finor_mask,
        )  # fmt: skip

    def passed(self, mask: Words) -> Flags:
        """Crossings in which an algorithm of the mask, uint64 (8,), is set after prescale."""
        return np.asarray((self.after_prescale & mask).any(axis=1), np.bool_)


@dataclass(frozen=True, slots=True)
class CodedDecision:
    """Decisions of n crossings, many of them equal: crossing r has row ``codes[r]`` of ``table``.

    codes: int32 (n,). accept: bool (n,), as in ``table``.
    """

    table: Decision
    codes: npt.NDArray[np.int32]
    accept: Flags

    def rows(self, chosen: npt.NDArray[np.signedinteger] | None = None) -> Decision:
        """The chosen crossings, by index, one by one; None: all."""
        return self.table.rows(self.codes if chosen is None else self.codes[chosen])

    def passed(self, mask: Words) -> Flags:
        """As ``Decision.passed``."""
        return self.table.passed(mask)[self.codes]


class FinalDecision:
    """From initial decisions to accepts; holds the prescale counters between blocks."""

    def __init__(
        self,
        factors: Factors,
        finor_mask: Words,
        veto_mask: Words | None = None,
        bx_mask: Words | None = None,
        counters: npt.NDArray[np.uint32] | None = None,
    ) -> None:
        """factors: uint32 (512,), 100 times the prescale, 0 = off.

        finor_mask, veto_mask: uint64 (8,); no veto mask means no vetoes.
        bx_mask: uint64 (3564, 8), row bx - 1; a cleared bit removes that algorithm's decision.
        counters: uint32 (512,), prescale counters of a run to be continued.
        """
        self.prescaler = Prescaler(factors, counters)
        self._finor_mask = checked_mask(finor_mask, "FinOR mask")
        none = np.zeros(N_WORDS, np.uint64)
        self._veto_mask = checked_mask(none if veto_mask is None else veto_mask, "veto mask")
        self._bx_mask: Words | None = None
        if bx_mask is not None:
            self._bx_mask = checked_words(bx_mask, "BX mask").copy()
            if self._bx_mask.shape[0] != ORBIT_BX:
                raise BadConfig(f"BX mask: {self._bx_mask.shape[0]} rows, expected {ORBIT_BX}")

    def set_factors(self, factors: Factors) -> None:
        """New prescale column at a luminosity-section boundary; counters are not reset."""
        self.prescaler.set_factors(factors)

    def decide(
        self,
        initial: Words,
        orbit: npt.NDArray[np.uint32],
        bx: npt.NDArray[np.uint16],
        start: Flags | None = None,
    ) -> Decision:
        """Decisions of the next n crossings, in time order.

        initial: uint64 (n, 8). orbit, bx: uint32 and uint16 (n,), bx 1..3564.
        start: bool (n,), crossings with a start signal (see ``Prescaler.apply``).
        Raises BadInput for a bx out of range, BadConfig for wrong shapes or dtypes.
        """
        initial = checked_words(initial, "initial decisions")
        check_crossings(initial.shape[0], orbit, bx)
        masked = initial
        if self._bx_mask is not None:
            masked = np.empty_like(initial)
            _mask_by_bx(initial, np.ascontiguousarray(bx), self._bx_mask, masked)
        passing = self.prescaler.uncounted() if start is None else None
        if passing is None:
            prescaled = requests = self.prescaler.apply(masked, start)
            passing = _ALL
        else:
            requests, prescaled = masked, np.empty_like(masked)
        finor, veto, accept = np.empty((3, initial.shape[0]), np.bool_)
        _final_or(
            requests, passing, self._finor_mask, self._veto_mask, prescaled, finor, veto, accept
        )
        return Decision(initial, masked, prescaled, finor, veto, accept, self._finor_mask.copy())

    def decide_coded(
        self,
        table: Words,
        codes: npt.NDArray[np.int32],
        orbit: npt.NDArray[np.uint32],
        bx: npt.NDArray[np.uint16],
    ) -> CodedDecision | None:
        """As ``decide`` for crossings that refer to rows of a table; None when each may differ.

        They may while a prescale counter is at work, or with a mask by crossing.
        """
        if self._bx_mask is not None or self.prescaler.uncounted() is None:
            return None
        check_crossings(codes.shape[0], orbit, bx)
        zero = np.zeros(len(table), np.uint32)
        decided = self.decide(table, zero, np.ones(len(table), np.uint16))
        return CodedDecision(decided, codes, decided.accept[codes])


def check_crossings(n: int, orbit: npt.NDArray[np.uint32], bx: npt.NDArray[np.uint16]) -> None:
    """Raise unless orbit and bx have n rows and every bx is 1..3564."""
    if orbit.shape != (n,) or bx.shape != (n,):
        raise BadConfig(f"orbit {orbit.shape} and bx {bx.shape} for {n} crossings")
    if n and (int(bx.min()) < 1 or int(bx.max()) > ORBIT_BX):
        row = int(np.flatnonzero((bx < 1) | (bx > ORBIT_BX))[0])
        raise BadInput(
            f"bx outside 1..{ORBIT_BX} (row {row} of the block)",
            orbit=int(orbit[row]),
            bx=int(bx[row]),
            field="bx",
        )


@njit
def _mask_by_bx(words: Words, bx: npt.NDArray[np.uint16], mask: Words, out: Words) -> None:
    for row in range(words.shape[0]):
        place = np.int64(bx[row]) - 1
        for word in range(N_WORDS):
            out[row, word] = words[row, word] & mask[place, word]


@njit
def _final_or(
    words: Words,
    passing: Words,
    finor_mask: Words,
    veto_mask: Words,
    out: Words,
    finor: Flags,
    veto: Flags,
    accept: Flags,
) -> None:
    """Words AND ``passing`` into ``out`` (which may be ``words``), and the flags of each row."""
    source, target = pointer(words), pointer(out)
    kept, wanted = load(pointer(passing), 0), load(pointer(finor_mask), 0)
    refused = load(pointer(veto_mask), 0)
    for row in range(words.shape[0]):
        requests = both(load(source, N_WORDS * row), kept)
        store(target, N_WORDS * row, requests)
        finor[row] = not alike(both(requests, wanted), nothing())
        veto[row] = not alike(both(requests, refused), nothing())
        accept[row] = finor[row] and not veto[row]
