"""Input links of the uGMT, and the global azimuth of a muon.

36 links carry up to three muons each. In order: 6 sectors of the endcap track finder of the
positive side (EMTF+), 6 of the overlap (OMTF+), 12 barrel wedges (BMTF), OMTF-, EMTF-. A muon is
known by its index 3 * (link - 36) + slot, 0..107.

The global azimuth counts 576 units a turn. A processor sends the azimuth inside its own sector,
signed, and possibly beyond its edges:

* barrel: (48 * wedge + local - 24) mod 576,
* others: (96 * sector + local + 24) mod 576.

Sides are told by the sign of eta, not by the link: overlap and endcap muons of eta > 0 go to the
positive stream, all others to the negative one. The detector sends no muon on the wrong side.

Source: CMS software, L1TMuonProducer (b9fae229); checked with board files of 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.formats.track_finder import FIRST_LINK, PHI_TURN, SLOTS, phi_begin
from scout40.streams.formats.track_finder import LINKS as N_LINKS

__all__ = ["FIRST_LINK", "N_LINKS", "PHI_TURN", "SLOTS"]

BMTF, OMTF, EMTF = 0, 1, 2
"""Track finders, and the rows of the extrapolation tables."""

_GROUPS = ((EMTF, 6), (OMTF, 6), (BMTF, 12), (OMTF, 6), (EMTF, 6))
"""(track finder, links) in the order of links; the streams of the sorter have this order too."""

TRACK_FINDER = np.array([tf for tf, count in _GROUPS for _ in range(count)], np.int64)
"""int64 (36,), by link - 36."""

SECTOR = np.array([place for _, count in _GROUPS for place in range(count)], np.int64)
"""int64 (36,): number of the wedge or sector inside its track finder."""

_OTHER_SIDE = {EMTF: 30, OMTF: 18, BMTF: 0}
MIRROR = np.array(
    [
        place + _OTHER_SIDE[int(tf)] * (1 if place < N_LINKS // 2 else -1)
        for place, tf in enumerate(TRACK_FINDER)
    ],
    np.int64,
)
"""int64 (36,): the link of the same sector on the other side; a barrel link is its own."""

PHI_OFFSET = np.array([phi_begin(FIRST_LINK + place) for place in range(N_LINKS)], np.int64)
"""int64 (36,): global azimuth of local azimuth 0."""

STREAM_CAPACITY = np.array([4, 4, 8, 4, 4], np.int64)
"""int64 (5,): muons that the first sort keeps of EMTF+, OMTF+, BMTF, OMTF-, EMTF-."""


def _stream(positive: bool) -> npt.NDArray[np.int64]:
    sides = {BMTF: 2, OMTF: 1 if positive else 3, EMTF: 0 if positive else 4}
    return np.array([sides[int(tf)] for tf in TRACK_FINDER], np.int64)


STREAM = np.concatenate([_stream(False), _stream(True)])
"""int64 (72,): stream of a muon, by link - 36, plus 36 if its eta is positive."""


def global_phi(link: npt.NDArray[Any], local: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Global azimuth 0..575 of local azimuths; arrays of one shape, links 36..71."""
    place = link.astype(np.int64) - FIRST_LINK
    out: npt.NDArray[np.int64] = (PHI_OFFSET[place] + local.astype(np.int64)) % PHI_TURN
    return out
