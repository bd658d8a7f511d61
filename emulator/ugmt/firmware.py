"""What each version of the uGMT firmware does, in one table.

Sources: the global-muon code of CMS software (cms-sw/cmssw L1Trigger/L1TMuon: producer b9fae229,
cancel-out unit b4000746, isolation unit 14be1893, configuration 42ad6bfd) and its parameters
(fakeGmtParams_cff 03572fad, written for firmware 0x8010000).

How well each line is known:

* "2024" and "2024-addresses" equal reference runs of the CMS code, muon by muon.
* "2016" and "2015" equal the public test benches of March 2016 and before.
* "2022" is "2024" with the older rule of output quality. That the rule changed at 0x8010000 is
  taken from a developer's text; the data of 2024 carry four quality bits.
* "2017" and "2017-start" are source text only: no public vector has inputs and outputs of these
  firmwares. Their match ellipses are those of the parameters above, whose earlier values are not
  public. The extrapolation of "2017" is the one of 2024.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from scout40.streams.errors import BadConfig


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Two muons match by coordinates inside this ellipse in eta and phi.

    sqrt((eta_factor * deta)^2 + (phi_factor * dphi)^2) <= max_dr, deta and dphi physical.
    eta_factor holds when both muons have a fine eta, eta_factor_coarse when not.
    """

    max_dr: float
    eta_factor: float = 1.0
    eta_factor_coarse: float = 1.0
    phi_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """Tables that carry a muon from its station to the vertex.

    eta_bits, pt_bits: of the address |eta| << pt_bits | pt; eta loses its 8 - eta_bits low bits.
    A muon with more pt bits is not moved. phi_shift: entries of the phi table count 2^phi_shift
    units; those of the eta table count single units.
    phi_bits: width of an entry of the phi table.
    phi_file, eta_file: names of the official tables, ``{}`` is B, O or E.
    """

    eta_bits: int
    pt_bits: int
    phi_shift: int
    phi_bits: int
    phi_file: str
    eta_file: str


@dataclass(frozen=True, slots=True)
class Firmware:
    """Behaviour of one range of firmware versions.

    first:
        lowest version word of the range, which ends where the next one begins.
    bmtf:
        barrel muons are compared by track address: "kalman" (stations 1 to 3), "original"
        (stations 2 to 4) or not at all.
    emtf:
        endcap muons are compared by "coordinates", track "addresses" or not at all.
    omtf_omtf, emtf_emtf, omtf_bmtf, omtf_emtf:
        ellipses of the coordinate matches; None: not compared.
    match_eta_bits:
        width of the eta difference in the address of a match table; 32 or 16 differences.
    fine_bit:
        the address of a match table has a bit that tells fine from coarse eta.
    vertex_output:
        the output word carries vertex coordinates; False: those at the station, and the vertex
        serves the isolation look-up alone.
    quality:
        "full": as received. "two bits": the low two bits are cleared, and an endcap muon with
        the halo bit has 15.
    """

    name: str
    first: int
    bmtf: Literal["kalman", "original", "off"]
    emtf: Literal["coordinates", "addresses", "off"]
    omtf_omtf: Ellipse | None
    emtf_emtf: Ellipse | None
    omtf_bmtf: Ellipse | None
    omtf_emtf: Ellipse | None
    match_eta_bits: int
    fine_bit: bool
    extrapolation: Extrapolation
    vertex_output: bool
    quality: Literal["full", "two bits"]


_EXTRAPOLATION_2016 = Extrapolation(
    eta_bits=6, pt_bits=6, phi_shift=3, phi_bits=3,
    phi_file="{}PhiExtrapolation", eta_file="{}EtaExtrapolation",
)  # fmt: skip
_EXTRAPOLATION_2017_START = dataclasses.replace(
    _EXTRAPOLATION_2016, phi_file="PhiExtrapolation_6eta_6pt_3out_3outshift_20170217"
)
_EXTRAPOLATION_2017 = Extrapolation(
    eta_bits=5, pt_bits=7, phi_shift=2, phi_bits=4,
    phi_file="{}PhiExtrapolation_5eta_7pt_4out_2outshift_20170505",
    eta_file="{}EtaExtrapolation_5eta_7pt_4out_0outshift_20170505",
)  # fmt: skip

_CIRCLE_2016 = Ellipse(max_dr=0.1)

_V2024 = Firmware(
    name="2024",
    first=0x8010000,
    bmtf="kalman",
    emtf="coordinates",
    omtf_omtf=Ellipse(max_dr=0.05, phi_factor=2.0),
    emtf_emtf=Ellipse(max_dr=0.05),
    omtf_bmtf=Ellipse(max_dr=0.15, phi_factor=6.0),
    omtf_emtf=Ellipse(max_dr=0.2, phi_factor=2.0),
    match_eta_bits=5,
    fine_bit=True,
    extrapolation=_EXTRAPOLATION_2017,
    vertex_output=True,
    quality="full",
)
_V2022 = dataclasses.replace(_V2024, name="2022", first=0x6000000, quality="two bits")
_V2017 = dataclasses.replace(_V2022, name="2017", first=0x5000000, bmtf="original")
_V2017_START = dataclasses.replace(
    _V2017, name="2017-start", first=0x4010000, extrapolation=_EXTRAPOLATION_2017_START
)
_V2016 = dataclasses.replace(
    _V2017,
    name="2016",
    first=0x2000000,
    omtf_omtf=_CIRCLE_2016,
    emtf_emtf=_CIRCLE_2016,
    omtf_bmtf=_CIRCLE_2016,
    omtf_emtf=_CIRCLE_2016,
    match_eta_bits=4,
    fine_bit=False,
    extrapolation=_EXTRAPOLATION_2016,
    vertex_output=False,
)
_V2015 = dataclasses.replace(
    _V2016,
    name="2015",
    first=0,
    bmtf="off",
    emtf="off",
    omtf_omtf=None,
    emtf_emtf=None,
    omtf_bmtf=None,
    omtf_emtf=None,
)

VERSIONS = (_V2015, _V2016, _V2017_START, _V2017, _V2022, _V2024)
"""Firmware of the detector, by rising version."""

VARIANTS = (dataclasses.replace(_V2024, name="2024-addresses", bmtf="original", emtf="addresses"),)
"""Settings that the boards can be given, not tied to a version."""

FIRMWARES = {one.name: one for one in (*VERSIONS, *VARIANTS)}
"""All of them by name."""


def firmware(name: str) -> Firmware:
    """Firmware of that name, "2024" for instance; BadConfig for an unknown one."""
    if name not in FIRMWARES:
        raise BadConfig(f"uGMT firmware {name!r} is not known; known are {', '.join(FIRMWARES)}")
    return FIRMWARES[name]


def firmware_of(version: int) -> Firmware:
    """Firmware of a version word, 0x8010000 for instance."""
    if version < 0:
        raise BadConfig(f"uGMT firmware version {version} is negative")
    return [one for one in VERSIONS if one.first <= version][-1]
