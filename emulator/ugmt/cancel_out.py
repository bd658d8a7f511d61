"""Cancel-out: of two neighbouring muons that are one, the worse is dropped.

Every pair of neighbouring links is compared, muon by muon, by coordinates or by track address.
Of a match

* inside a track finder the lower quality is cancelled; equal: the muon of wedge n + 1, which for
  the pair of last and first wedge is that of wedge 0;
* between overlap and barrel or endcap the overlap muon is cancelled unless its quality is
  strictly higher.

Transverse momentum plays no role. A cancelled muon still cancels others, so the order of the
comparisons does not matter.

Coordinates: dphi, folded around the turn, at most 7 units, deta at most 31; then a table says
whether they match, at fine << 8 | deta << 3 | dphi. ``fine`` is set when both muons have the
fine-eta bit, which counts as set for endcap muons (theirs is the halo bit).

Muons on the wrong side (see links.py) are in the wedge of the other side. CMS software then looks
at the first muon of each of the two wedges only: links of unequal sides, and the pair of wedges is
not compared; else the table is that of their side.

Source: CMS software, MicroGMTCancelOutUnit (b4000746).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scout40.emulator.ugmt.addresses import (
    AddressRules,
    BarrelAddresses,
    EndcapAddresses,
    same_barrel_segment,
    same_endcap_segment,
)
from scout40.emulator.ugmt.links import N_LINKS, PHI_TURN
from scout40.emulator.ugmt.neighbours import (
    BETWEEN,
    BMTF_ADDRESS,
    EMTF_ADDRESS,
    NONE,
    SWAPPED,
    Neighbours,
)
from scout40.emulator.ugt.bits import lowest_bit
from scout40.streams.jit import njit

_HALF_TURN, _MAX_DPHI, _MAX_DETA = PHI_TURN // 2, 7, 31
_CELLS, _CELL = 64, 9
WITHIN, BETWEEN_FINDERS = 1, 2
"""Bits of ``Crossing.cancel``: by a muon of the same track finder, by one of another."""


class Addresses(NamedTuple):
    """Track addresses of the input muons."""

    barrel: BarrelAddresses
    endcap: EndcapAddresses


class Crossing(NamedTuple):
    """The existing muons of one crossing, in order of link and slot.

    row, link, qual, eta, phi, fine, cancel: int32 (108,) input row, link less 36, quality, eta,
    global azimuth, fine-eta bit (set for every endcap muon), and the bits WITHIN and
    BETWEEN_FINDERS, which cancel-out sets.
    links: int64 (64,) bit set of the links with a muon in a cell of azimuth.
    start, stop: int64 (36,) the muons start .. stop of a link (less 36), valid for links in use.
    """

    row: Any
    link: Any
    qual: Any
    eta: Any
    phi: Any
    fine: Any
    cancel: Any
    links: Any
    start: Any
    stop: Any


class CancelRules(NamedTuple):
    """How muons are compared. match: int16 (8 * 512,), rows as in ``Tables.match``."""

    near: Neighbours
    match: Any
    addresses: AddressRules


@njit
def cancel_out(
    count: int, used: int, mixed: bool,
    at: Crossing, addresses: Addresses, rules: CancelRules,
) -> None:  # fmt: skip
    """Set the cancel bits of one crossing.

    count:
        muons. used: bit set of the links (less 36) that have one. mixed: some are on the wrong
        side.
    """
    _by_coordinates(count, used, mixed, at, rules.near, rules.match)
    if used & rules.near.has_addresses:
        _by_address(used, mixed, at, addresses, rules)


@njit
def _by_coordinates(
    count: int, used: int, mixed: bool, at: Crossing, near: Neighbours, match: Any
) -> None:
    """Compare each muon with those of neighbouring links that are near in azimuth.

    The turn has 64 cells of nine units, more than the reach of a match. Each knows the links that
    have a muon in it, so a few bit operations tell with which links, if any, to compare.
    """
    for cell in range(_CELLS):
        at.links[cell] = 0
    for k in range(count):
        at.links[at.phi[k] // _CELL] |= 1 << at.link[k]
    for k in range(count):
        cell, link = at.phi[k] // _CELL, at.link[k]
        around = at.links[(cell - 1) & 63] | at.links[cell] | at.links[(cell + 1) & 63]
        around &= near.crossed[link] if mixed else near.lower[link]
        while around:
            second = lowest_bit(np.uint64(around))
            around &= around - 1
            for m in range(at.start[second], at.stop[second]):
                deta, dphi = abs(at.eta[k] - at.eta[m]), abs(at.phi[k] - at.phi[m])
                dphi = PHI_TURN - dphi if dphi > _HALF_TURN else dphi
                if (deta > _MAX_DETA) | (dphi > _MAX_DPHI):  # one branch, not two
                    continue
                kind = near.kind[link * N_LINKS + second]
                if mixed:
                    kind = _mixed_kind(k, m, used, at, near)
                fine = at.fine[k] & at.fine[m]
                place = (kind & ~SWAPPED) << 9 | fine << 8 | deta << 3 | dphi
                if kind != NONE and match[place]:
                    _cancel_worse(k, m, kind, at)


@njit
def _by_address(
    used: int, mixed: bool, at: Crossing, addresses: Addresses, rules: CancelRules
) -> None:
    """Compare the muons of links whose track finder is compared by track address."""
    left = used & rules.near.has_addresses
    while left:
        first = lowest_bit(np.uint64(left))
        left &= left - 1
        others = rules.near.by_address[first] & used
        while others:
            second = lowest_bit(np.uint64(others))
            others &= others - 1
            kind = rules.near.kind[first * N_LINKS + second]
            for k in range(at.start[first], at.stop[first]):
                for m in range(at.start[second], at.stop[second]):
                    one, other = at.row[k], at.row[m]
                    if mixed:
                        kind = _mixed_kind(k, m, used, at, rules.near)
                    if kind == BMTF_ADDRESS:
                        barrel = addresses.barrel
                        same = same_barrel_segment(one, other, barrel, rules.addresses)
                    else:
                        endcap = addresses.endcap
                        same = kind == EMTF_ADDRESS and same_endcap_segment(one, other, endcap)
                    if same:
                        _cancel_worse(k, m, kind, at)


@njit
def _cancel_worse(k: int, m: int, kind: int, at: Crossing) -> None:
    """Of two matching muons, of which ``kind`` tells which is the first."""
    first, second = (m, k) if kind & SWAPPED else (k, m)
    better = at.qual[first] - at.qual[second]
    if kind & BETWEEN:
        at.cancel[second if better > 0 else first] |= BETWEEN_FINDERS
    else:
        at.cancel[second if better >= 0 else first] |= WITHIN


@njit
def _mixed_kind(k: int, m: int, used: int, at: Crossing, near: Neighbours) -> int:
    """Kind of the comparison of two muons where some are on the wrong side."""
    first, second = at.link[k], at.link[m]
    either_barrel = near.mirror[first] == first or near.mirror[second] == second
    if not either_barrel and (at.eta[k] > 0) != (at.eta[m] > 0):
        return NONE
    first = _first_link(first, at.eta[k] > 0, used, at, near)
    second = _first_link(second, at.eta[m] > 0, used, at, near)
    return int(near.kind[first * N_LINKS + second])


@njit
def _first_link(link: int, positive: bool, used: int, at: Crossing, near: Neighbours) -> int:
    """Link of the first muon in the wedge of ``link`` on the side that ``positive`` names."""
    front, back = min(link, near.mirror[link]), max(link, near.mirror[link])
    if front != back and used >> front & 1:
        for k in range(at.start[front], at.stop[front]):
            if (at.eta[k] > 0) == positive:
                return int(front)
    return int(back)
