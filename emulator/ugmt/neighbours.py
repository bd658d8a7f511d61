"""Which links the cancel-out compares, and how.

* Within a track finder: wedge n with wedge n + 1, around the ring of 12 (barrel) or 6.
* Overlap sector n with barrel wedges 2n .. 2n + 3, and with endcap sectors n - 1, n, n + 1 of
  its own side.

Muons of one wedge are not compared, nor endcap with barrel, nor the two sides of the detector.
Source: CMS software, MicroGMTCancelOutUnit (b4000746).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from scout40.emulator.ugmt.firmware import Firmware
from scout40.emulator.ugmt.links import BMTF, EMTF, MIRROR, N_LINKS, OMTF, SECTOR, TRACK_FINDER

MATCH_NAMES = (
    "OmtfPosSingleMatchQual",
    "OmtfNegSingleMatchQual",
    "EmtfPosSingleMatchQual",
    "EmtfNegSingleMatchQual",
    "BOPosMatchQual",
    "BONegMatchQual",
    "EOPosMatchQual",
    "EONegMatchQual",
)
"""Match tables in the order of their rows; a row number is the kind of a comparison."""

BETWEEN = 4
"""Bit of the kinds 4..7, which compare an overlap muon with one of another track finder."""

NONE, BMTF_ADDRESS, EMTF_ADDRESS = -1, 8, 9
"""The other kinds of comparison."""

SWAPPED = 16
"""Bit of the kind of two links that are given in the other order, second and first."""


class Neighbours(NamedTuple):
    """Links by number - 36.

    kind:
        int64 (36 * 36,): kind of the comparison of two links, NONE if there is none. The first
        is wedge n and the second n + 1, or the first is the overlap sector; with the bit SWAPPED
        it is the other way round.
    lower, crossed:
        int64 (36,): bit set of the links of lower number that a link is compared with by
        coordinates, in either order. ``crossed`` has those on the other side too, which only
        muons on the wrong side need.
    by_address:
        int64 (36,): bit set of the second links that a link is compared with by track address,
        those on the other side included, which only muons on the wrong side need.
    has_addresses:
        bit set of the links that ``by_address`` has something for.
    mirror:
        int64 (36,): see links.py.
    """

    kind: Any
    lower: Any
    crossed: Any
    by_address: Any
    has_addresses: int
    mirror: Any


def neighbours(fw: Firmware) -> Neighbours:
    """The comparisons that a firmware makes."""
    by_address, lower, crossed = np.zeros((3, N_LINKS), np.int64)
    kind = np.full(N_LINKS * N_LINKS, NONE, np.int64)
    for first, second in _pairs():
        how = _kind(fw, first, second)
        if how == NONE:
            continue
        kind[first * N_LINKS + second] = how
        kind[second * N_LINKS + first] = how | SWAPPED
        if how in (BMTF_ADDRESS, EMTF_ADDRESS):
            by_address[first] |= 1 << second | 1 << int(MIRROR[second])
            continue
        for one, other in ((first, second), (second, first)):
            lower[one] |= _bits(one, other)
            crossed[one] |= _bits(one, other, int(MIRROR[other]))
    links = (1 << place for place in range(N_LINKS) if by_address[place])
    return Neighbours(kind, lower, crossed, by_address, sum(links), MIRROR)


def _bits(link: int, *others: int) -> int:
    """Bit set of those of the others that are lower."""
    return sum(1 << other for other in set(others) if other < link)


def _pairs() -> Iterator[tuple[int, int]]:
    """All (first, second) links that are neighbours, on their own sides."""
    links = range(N_LINKS)
    for first in links:
        for second in links:
            tf, other = TRACK_FINDER[first], TRACK_FINDER[second]
            ring = 12 if tf == BMTF else 6
            same_side = tf == BMTF or (first < N_LINKS // 2) == (second < N_LINKS // 2)
            step = int(SECTOR[second] - SECTOR[first])
            if tf == other:
                near = same_side and step % ring == 1
            elif tf == OMTF and other == EMTF:
                near = same_side and (step + 1) % 6 < 3
            else:
                shift = int(SECTOR[second] - 2 * SECTOR[first])
                near = tf == OMTF and other == BMTF and shift % 12 < 4
            if near:
                yield first, second


def _kind(fw: Firmware, first: int, second: int) -> int:
    side = int(first >= N_LINKS // 2)
    tf, other = TRACK_FINDER[first], TRACK_FINDER[second]
    if tf == BMTF:
        return NONE if fw.bmtf == "off" else BMTF_ADDRESS
    if tf == EMTF and fw.emtf != "coordinates":
        return NONE if fw.emtf == "off" else EMTF_ADDRESS
    row, ellipse = {
        (OMTF, OMTF): (0, fw.omtf_omtf),
        (EMTF, EMTF): (2, fw.emtf_emtf),
        (OMTF, BMTF): (4, fw.omtf_bmtf),
        (OMTF, EMTF): (6, fw.omtf_emtf),
    }[int(tf), int(other)]
    return NONE if ellipse is None else row + side
