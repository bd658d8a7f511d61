"""Layer-2 jets of the calorimeter trigger, one event at a time in plain Python.

The independent twin of the kernels, written from the rules alone: towers in a dictionary, lists
of jets out, nothing clever. Rules: the project's notes on the public CMS layer-2 sources (jets,
sorters, demux) and the caloParams of 2024.

A tower is (ieta, iphi): ieta +-1..28 and +-30..41, iphi 1..72. ``ring`` is the gapless index of
the magnitude of ieta, 1..40.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

Towers = dict[tuple[int, int], int]
"""(ieta, iphi) -> Et in 0.5 GeV; absent = 0; 509, 510, 511 = saturated."""

RINGS = 40
PHIS = 72
SEED = 8
SATURATED_TOWER = 509
SATURATED_JET = 65535
RING_JETS, SIDE_JETS = 6, 6


@dataclass(frozen=True)
class Calibration:
    """The tables of the 2024 calibration as plain lists.

    pt_bin:
        256 entries, 4 bits: min(Et, 511) >> 1 -> pT bin.
    eta_bin:
        entry per ring (entry 0 unused), 4 bits.
    word:
        256 entries: eta bin << 4 | pT bin -> multiplier (bits 0-9) and signed addend (10-17).
    """

    pt_bin: Sequence[int]
    eta_bin: Sequence[int]
    word: Sequence[int]

    def apply(self, et: int, ring: int) -> int:
        """Calibrated Et; 65535 when it does not fit 16 bits."""
        word = self.word[self.eta_bin[ring] << 4 | self.pt_bin[min(et, 511) >> 1]]
        addend = word >> 10 & 255
        if addend > 127:
            addend -= 256
        value = (et * (word & 1023) >> 9) + addend
        return value if 0 <= value <= 65535 else SATURATED_JET


@dataclass(frozen=True)
class Jet:
    """One jet; et 0 is an empty place of a sorting network."""

    et: int = 0
    ieta: int = 0
    iphi: int = 0
    raw_et: int = 0
    seed_et: int = 0
    pu_et: int = 0


@dataclass(frozen=True)
class Lists:
    """Jets of one event at three places of the chain."""

    presort: list[Jet]  # candidates in ring order, as the HT sums see them
    processor: list[Jet]  # up to 6 of positive eta, then up to 6 of negative eta
    demux: list[Jet]  # up to 12


def jets(towers: Towers, pile_up: str, calibration: Calibration | None = None) -> Lists:
    """All three lists of one event; pile_up is "none", "phi-ring" or "chunky-donut"."""
    presort: list[Jet] = []
    sides: list[list[Jet]] = []
    for side in (1, -1):
        rings = {ring: _ring_jets(towers, side, ring, pile_up) for ring in range(1, RINGS + 1)}
        for first in (1, 2, 3, 4):
            for ring in range(first, RINGS + 1, 4):
                presort += [_calibrated(jet, ring, calibration, False) for jet in rings[ring]]
        kept: list[Jet] = []
        for ring in range(1, RINGS + 1):
            ready = [_calibrated(jet, ring, calibration, True) for jet in rings[ring]]
            kept = _accumulated(kept, _best_of_ring(ready))
        sides.append(kept[:SIDE_JETS])
    return Lists(presort, sides[0] + sides[1], _demux(sides[0], sides[1]))


# -- geometry ------------------------------------------------------------------------------------


def ieta_of(index: int) -> int:
    """Signed gapless index +-1..40 -> ieta."""
    size = abs(index) if abs(index) < 29 else abs(index) + 1
    return size if index > 0 else -size


def stepped(index: int, step: int) -> int:
    """Signed gapless index some towers further towards + eta; there is no index 0."""
    moved = index + step
    if index < 0 <= moved:
        return moved + 1
    if moved <= 0 < index:
        return moved - 1
    return moved


def _tower(towers: Towers, index: int, iphi: int, deta: int, dphi: int) -> int:
    index = stepped(index, deta)
    if abs(index) > RINGS:
        return 0
    return towers.get((ieta_of(index), (iphi + dphi - 1) % PHIS + 1), 0)


# -- one ring ------------------------------------------------------------------------------------


def _ring_jets(towers: Towers, side: int, ring: int, pile_up: str) -> list[Jet]:
    """Jets of one ring with Et > 0 after subtraction, by rising phi."""
    index = side * ring
    found = []
    for iphi in range(1, PHIS + 1):
        seed = _tower(towers, index, iphi, 0, 0)
        if seed < SEED or not _is_maximum(towers, index, iphi):
            continue
        raw = _box(towers, index, iphi, range(-4, 5), range(-4, 5))
        pu = 0
        if seed < SATURATED_TOWER:
            pu = _pile_up(towers, index, iphi, pile_up)
            et = raw - pu
        else:
            et = SATURATED_JET
        if et > 0:
            found.append(Jet(et, ieta_of(index), iphi, raw, seed, pu))
    return found


def _is_maximum(towers: Towers, index: int, iphi: int) -> bool:
    seed = _tower(towers, index, iphi, 0, 0)
    for deta in range(-4, 5):
        for dphi in range(-4, 5):
            if deta == dphi == 0:
                continue
            other = _tower(towers, index, iphi, deta, dphi)
            strict = deta + dphi > 0 or (deta + dphi == 0 and deta > 0)
            if other > seed or (strict and other == seed):
                return False
    return True


def _box(towers: Towers, index: int, iphi: int, detas: range, dphis: range) -> int:
    return sum(_tower(towers, index, iphi, deta, dphi) for deta in detas for dphi in dphis)


def _pile_up(towers: Towers, index: int, iphi: int, kind: str) -> int:
    if kind == "phi-ring":
        rings = range(-4, 5)
        return _box(towers, index, iphi, rings, range(PHIS)) * 9 // PHIS
    if kind == "chunky-donut":
        along, above, below = range(-4, 5), range(5, 8), range(-7, -4)
        strips = [
            _box(towers, index, iphi, along, above),
            _box(towers, index, iphi, along, below),
            _box(towers, index, iphi, above, along),
            _box(towers, index, iphi, below, along),
        ]
        return sum(sorted(strips)[:3])
    return 0


def _calibrated(jet: Jet, ring: int, calibration: Calibration | None, saturated_too: bool) -> Jet:
    if calibration is None or (jet.et == SATURATED_JET and not saturated_too):
        return jet
    return replace(jet, et=calibration.apply(jet.et, ring))


# -- sorting -------------------------------------------------------------------------------------


@functools.cache
def sort_pairs(size: int) -> list[tuple[int, int, bool]]:
    """Steps of the bitonic network for a descending sort: (first, second, descending)."""
    return list(_sort_steps(0, size, True))


def _sort_steps(low: int, size: int, down: bool) -> Iterator[tuple[int, int, bool]]:
    if size < 2:
        return
    half = size // 2
    yield from _sort_steps(low, half, not down)
    yield from _sort_steps(low + half, size - half, down)
    yield from _merge_steps(low, size, down)


def _merge_steps(low: int, size: int, down: bool) -> Iterator[tuple[int, int, bool]]:
    if size < 2:
        return
    span = 1
    while span * 2 < size:
        span *= 2
    for place in range(low, low + size - span):
        yield place, place + span, down
    yield from _merge_steps(low, span, down)
    yield from _merge_steps(low + span, size - span, down)


def bitonic(items: list[Jet]) -> list[Jet]:
    """Descending by Et; equal elements stay in ascending stages and change in descending ones."""
    out = list(items)
    for first, second, down in sort_pairs(len(out)):
        if (out[first].et > out[second].et) != down:
            out[first], out[second] = out[second], out[first]
    return out


def _best_of_ring(found: list[Jet]) -> list[Jet]:
    """Up to six: which ones, a network of just these jets says; their order, one of 18 places."""
    if len(found) > RING_JETS:
        found = bitonic(found)[:RING_JETS]
    places = [Jet()] * (PHIS // 4)
    for jet in found:
        places[(PHIS - jet.iphi) // 4] = jet
    return [jet for jet in bitonic(places)[:RING_JETS] if jet.et > 0]


def _accumulated(kept: list[Jet], new: list[Jet]) -> list[Jet]:
    """The 7 best of both, by a chain of places.

    Each place puts the jet it holds into the stream that comes in, in front of the first one that
    is not larger, keeps the head of the stream and hands on the rest. So of equal jets the
    earlier stays in front of a new one, but jets that are pushed down turn the order of those
    equal to them, once for each ring that pushes.
    """
    places = (kept + [Jet()] * (SIDE_JETS + 1))[: SIDE_JETS + 1]
    stream = [*new, Jet()]
    for place, held in enumerate(places):
        at = next(i for i, jet in enumerate(stream) if jet.et <= held.et)
        stream.insert(at, held)
        places[place] = stream.pop(0)
    sixth, seventh = places[-2:]
    if (sixth.et, sixth.ieta) == (seventh.et, seventh.ieta) and sixth.iphi < seventh.iphi:
        places[-2:] = [seventh, sixth]
    return [jet for jet in places if jet.et > 0]


def _demux(positive: list[Jet], negative: list[Jet]) -> list[Jet]:
    """The network is as wide as there are jets: empty places take no part."""
    return [replace(jet, et=min(jet.et, 2047)) for jet in bitonic(positive + negative)]
