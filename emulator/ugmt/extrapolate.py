"""Extrapolation: where a muon came from, by tables of its track finder, |eta| and pt.

The address is |eta|, without its low bits, beside pt; a muon whose pt needs more bits than the
address has is not moved. The azimuth moves by the entry times 2^phi_shift, backwards for a muon of
hw_sign 1 (also when the sign is not valid). Eta moves towards 0 by the entry of the other table:
down if it is positive, else up; it is not clamped.

Source: CMS software, MicroGMTExtrapolationLUTFactory (0b66ec88) and L1TMuonProducer (b9fae229);
checked on 5767 muons of the data of 2024 and 2025.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from scout40.emulator.ugmt.firmware import Firmware
from scout40.emulator.ugmt.tables import EXTRAPOLATION_ADDRESSES, Tables
from scout40.streams.jit import njit

_STRIDE = EXTRAPOLATION_ADDRESSES
_ETA_BITS = 8


class ExtrapolationRules(NamedTuple):
    """Tables int16 (3 * 4096,), rows BMTF, OMTF, EMTF, and how they are addressed."""

    phi: Any
    eta: Any
    eta_shift: int
    eta_mask: int
    pt_bits: int
    phi_shift: int


def extrapolation_rules(fw: Firmware, tables: Tables) -> ExtrapolationRules:
    """Tables and address of a firmware."""
    move = fw.extrapolation
    return ExtrapolationRules(
        phi=tables.phi_extrapolation.ravel(),
        eta=tables.eta_extrapolation.ravel(),
        eta_shift=_ETA_BITS - move.eta_bits,
        eta_mask=(1 << move.eta_bits) - 1,
        pt_bits=move.pt_bits,
        phi_shift=move.phi_shift,
    )


@njit
def address(pt: int, eta: int, track_finder: int, rules: ExtrapolationRules) -> int:
    """Place in the tables; -1 for a muon that is not moved."""
    if pt >> rules.pt_bits:
        return -1
    cell = (abs(eta) >> rules.eta_shift) & rules.eta_mask
    return track_finder * _STRIDE + (cell << rules.pt_bits | pt)


@njit
def phi_move(place: int, sign: int, rules: ExtrapolationRules) -> int:
    """Signed step in azimuth at an ``address``."""
    if place < 0:
        return 0
    step = int(rules.phi[place] << rules.phi_shift)
    return -step if sign else step


@njit
def eta_move(place: int, eta: int, rules: ExtrapolationRules) -> int:
    """Signed step in eta at an ``address``."""
    if place < 0:
        return 0
    step = int(rules.eta[place])
    return -step if eta > 0 else step
