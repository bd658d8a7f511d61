"""Words of the phase-2 Level-1 scouting stream (2023-2024 test system).

Source: the raw-format section of the public phase-2 scouting clients (p2-scouting-clients) and
the description of its unpackers. What the public sample files confirm:

- event header, orbit of 3564 crossings, candidate counts, DTHBasic256 blocks: the 14 complete
  orbits of ``tcp_gen4_dth256.data`` (8050 events; its candidates are counters, so they confirm
  no field of ``Puppi``);
- tracker muons: all 19 800 events of ``TkMuons_TM18.dump`` (``valid`` always 1, spare bits 0,
  |eta| at most 2.45, phi over the full turn). That file has impact parameters of 0 and beta 15
  only, so those two fields are confirmed by position alone.

Not confirmed by any public file: every field of ``Puppi``, and the step of its ``dxy``.
"""

from __future__ import annotations

import math

from scout40.streams.layout import Bits, Word, linear

PUPPI_PT = linear("GeV", 0.25)
PUPPI_ANGLE = linear("rad", math.pi / 720)
PUPPI_ETA = linear("", math.pi / 720)
PUPPI_WEIGHT = linear("", 1 / 256)
TRACK_Z0 = linear("cm", 0.05)
TKMU_PT = linear("GeV", 0.03125)
TKMU_PHI = linear("rad", math.pi / 4096)
TKMU_ETA = linear("", math.pi / 4096)
TKMU_D0 = linear("cm", 0.03)
TKMU_BETA = linear("", 0.06)


class EventHeader(Word, dtype="u8"):
    """Header of the candidates of one crossing.

    ``kind`` is 2 in the documented format; files of the first muon tests have 0 there.
    """

    count = Bits(0, 8, "number of 64-bit candidate words that follow")
    zero = Bits(8, 4, "always 0")
    bx = Bits(12, 12, "bunch crossing, 0..3563")
    orbit = Bits(24, 32, "orbit number")
    run = Bits(56, 5, "local run number")
    error = Bits(61, 1, "error; with count 0: the crossing was truncated")
    kind = Bits(62, 2, "2 = event header")


class OrbitHeader(Word, dtype="u8"):
    """Header of a whole orbit; with ``error`` and size 0 the orbit was truncated."""

    size = Bits(0, 24, "size of the orbit in 64-bit words")
    orbit = Bits(24, 32, "orbit number")
    run = Bits(56, 5, "local run number")
    error = Bits(61, 1, "error")
    kind = Bits(62, 2, "3 = orbit header")


class PuppiCharged(Word, dtype="u8"):
    """One charged PUPPI candidate (``hw_pid`` 2..7)."""

    hw_pt = Bits(0, 14, "transverse momentum", scale=PUPPI_PT)
    hw_eta = Bits(14, 12, "pseudorapidity", signed=True, scale=PUPPI_ETA)
    hw_phi = Bits(26, 11, "azimuth", signed=True, scale=PUPPI_ANGLE)
    hw_pid = Bits(37, 3, "0 h0, 1 photon, 2 h-, 3 h+, 4 e-, 5 e+, 6 mu-, 7 mu+")
    hw_z0 = Bits(40, 10, "longitudinal vertex position", signed=True, scale=TRACK_Z0)
    hw_dxy = Bits(50, 8, "transverse impact parameter", signed=True)
    hw_quality = Bits(58, 3, "track quality")


class PuppiNeutral(Word, dtype="u8"):
    """One neutral PUPPI candidate (``hw_pid`` 0 or 1)."""

    hw_pt = Bits(0, 14, "transverse momentum", scale=PUPPI_PT)
    hw_eta = Bits(14, 12, "pseudorapidity", signed=True, scale=PUPPI_ETA)
    hw_phi = Bits(26, 11, "azimuth", signed=True, scale=PUPPI_ANGLE)
    hw_pid = Bits(37, 3, "0 h0, 1 photon, 2 h-, 3 h+, 4 e-, 5 e+, 6 mu-, 7 mu+")
    hw_weight = Bits(40, 10, "PUPPI weight", scale=PUPPI_WEIGHT)
    hw_id = Bits(50, 6, "identification bits")


class TrackerMuon(Word, dtype="u8", words=2):
    """One tracker muon: 96 bits on the wire, here the low 64 and the high 32 bits.

    Two muons share three 64-bit wire words: an even one stores its low part first, an odd one
    its high part first. An odd number of muons ends with 32 zero bits.
    """

    valid = Bits(0, 1, "always 1 for a muon")
    hw_pt = Bits(1, 16, "transverse momentum", scale=TKMU_PT)
    hw_phi = Bits(17, 13, "azimuth", signed=True, scale=TKMU_PHI)
    hw_eta = Bits(30, 14, "pseudorapidity", signed=True, scale=TKMU_ETA)
    hw_z0 = Bits(44, 10, "longitudinal vertex position", signed=True, scale=TRACK_Z0)
    hw_d0 = Bits(54, 10, "transverse impact parameter", signed=True, scale=TKMU_D0)
    hw_charge = Bits(0, 1, "charge sign, 1 = negative", word=1)
    hw_quality = Bits(1, 8, "quality", word=1)
    hw_iso = Bits(9, 4, "isolation", word=1)
    hw_beta = Bits(13, 4, "velocity", word=1, scale=TKMU_BETA)


OBJECT_WORDS: dict[str, tuple[type[Word], ...]] = {
    "puppi": (PuppiCharged, PuppiNeutral),
    "tkmu": (TrackerMuon,),
}
"""Tables -> the words that declare their columns; of a column in both, the first counts."""
