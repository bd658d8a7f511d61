"""The quality in the output word.

Firmware of 2024 passes the quality of the track finder. Before, only its two high bits were sent,
and an endcap muon with the halo bit had 15. Sources: CMS software, MicroGMTConfiguration
(42ad6bfd) for the older rule; for the newer one a developer's text (eyigitba/cmssw 3ff32635).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugmt.firmware import Firmware
from scout40.emulator.ugmt.links import EMTF, FIRST_LINK, TRACK_FINDER

HALO_QUALITY = 15
_TWO_BITS = 12


def output_quality(
    fw: Firmware, columns: Mapping[str, npt.NDArray[np.int8]]
) -> npt.NDArray[np.int8]:
    """int8 output quality of muons by columns hw_qual, link (36..71) and hw_hf (halo bit)."""
    qual = columns["hw_qual"]
    if fw.quality == "full":
        return qual
    halo = (TRACK_FINDER[columns["link"].astype(np.int64) - FIRST_LINK] == EMTF) & (
        columns["hw_hf"] == 1
    )
    return np.where(halo, np.int8(HALO_QUALITY), qual & _TWO_BITS)
