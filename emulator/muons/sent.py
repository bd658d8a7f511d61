"""What the uGMT sends: the muons of the track finders through its emulator."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.calibration import FIRMWARE, Calibration
from scout40.emulator.muons.found import NO_SEGMENT, FinderMuons
from scout40.emulator.muons.response import Response
from scout40.emulator.ugmt import Ugmt
from scout40.emulator.ugmt.firmware import firmware
from scout40.emulator.ugmt.links import (
    BMTF,
    EMTF,
    FIRST_LINK,
    PHI_OFFSET,
    PHI_TURN,
    SLOTS,
)
from scout40.emulator.ugmt.tables import Tables, computed_tables
from scout40.streams.block import ORBIT_BX, Block, Table, offsets_of

Ints = npt.NDArray[np.int64]
Columns = dict[str, npt.NDArray[Any]]

COLUMNS = (
    "hw_pt", "hw_eta", "hw_phi", "hw_eta_at_vtx", "hw_phi_at_vtx", "hw_sign", "hw_charge_valid",
    "hw_qual", "tf_muon_index", "hw_iso",
)  # fmt: skip
"""Columns of the uGMT's output that the samples have."""

_INDICES = 3 * 36
_HALF = PHI_TURN // 2


class Sent(NamedTuple):
    """Output muons in the order of crossings, best first in each.

    crossing, source: int64 (n,). finder: int64 (n,). ghost: uint8 (n,), 1 where the same source
    has been sent before in this crossing. columns: see COLUMNS.
    """

    crossing: Ints
    source: Ints
    finder: Ints
    ghost: npt.NDArray[np.uint8]
    columns: Columns


def emulator(response: Response, calibration: Calibration) -> Ugmt:
    """The uGMT whose words the samples carry.

    Its tables are the computed ones; with ``extrapolation_tables`` "fitted" those of the
    extrapolation are the calibration's.
    """
    fw = firmware(FIRMWARE)
    tables = _computed()
    if response.extrapolation_tables == "fitted":
        tables = dataclasses.replace(
            tables, phi_extrapolation=calibration.phi, eta_extrapolation=calibration.eta
        )
    return Ugmt(fw, tables)


@functools.cache
def _computed() -> Tables:
    return computed_tables(firmware(FIRMWARE))


def send(found: FinderMuons, crossing: Ints, crossings: int, ugmt: Ugmt) -> Sent:
    """Output of the uGMT, its isolation set to 0. crossing: of every source, 0..crossings - 1."""
    link = links_of(found)
    order, slot = _slots(crossing[found.source], link)
    found, link = found.take(order), link[order]
    at = crossing[found.source]
    block = ugmt.run(_block(found, link, slot, at, crossings))
    mu = block.tables["mu"]
    out = np.repeat(np.arange(crossings), mu.counts())
    # Input rows are in the order of this number, so it finds them.
    index = _INDICES * at + SLOTS * (link - FIRST_LINK) + slot
    row = np.searchsorted(index, _INDICES * out + mu["tf_muon_index"].astype(np.int64))
    source = found.source[row]
    columns = {name: mu[name] for name in COLUMNS}
    columns["hw_iso"] = np.zeros_like(mu["hw_iso"])  # without sums every muon would be isolated
    return Sent(out, source, found.finder[row], _again(out, source), columns)


def links_of(found: FinderMuons) -> Ints:
    """Link 36..71 of each muon."""
    barrel = found.finder == BMTF
    sector = np.where(barrel, (found.sector_phi + 24) % PHI_TURN // 48,
                      (found.sector_phi - 24) % PHI_TURN // 96)  # fmt: skip
    above = found.hw_eta > 0
    first = np.where(found.finder == EMTF, np.where(above, 0, 30), np.where(above, 6, 24))
    return FIRST_LINK + np.where(barrel, 12, first) + sector


def _slots(crossing: Ints, link: Ints) -> tuple[Ints, Ints]:
    """Rows in order of crossing and link, at most three on a link, and the slot of each."""
    order = np.lexsort((np.arange(len(link)), link, crossing))
    key = crossing[order] * (FIRST_LINK + _INDICES) + link[order]
    slot = np.arange(len(key)) - np.searchsorted(key, key)
    return order[slot < SLOTS], slot[slot < SLOTS]


def _block(found: FinderMuons, link: Ints, slot: Ints, at: Ints, crossings: int) -> Block:
    """The muons as the table ``tfmu``."""
    zero = np.zeros(len(link), np.uint8)
    none = np.full(len(link), NO_SEGMENT, np.uint8)
    local = (found.hw_phi - PHI_OFFSET[link - FIRST_LINK] + _HALF) % PHI_TURN - _HALF
    columns: Columns = {
        "link": link.astype(np.uint8), "slot": slot.astype(np.uint8),
        "hw_pt": found.hw_pt.astype(np.uint16), "hw_pt_unconstrained": zero, "hw_dxy": zero,
        "hw_phi": local.astype(np.int16), "hw_eta": found.hw_eta.astype(np.int16), "hw_hf": zero,
        "hw_sign": found.hw_sign.astype(np.uint8), "hw_sign_valid": zero + np.uint8(1),
        "hw_qual": found.hw_qual.astype(np.uint8), "wheel_side": zero, "wheel_num": zero,
        "stat1": found.stat1.astype(np.uint8), "stat2": none, "stat3": none, "stat4": none,
    }  # fmt: skip
    table = Table(columns, offsets_of(np.bincount(at, minlength=crossings)))
    place = np.arange(crossings)
    return Block(
        0, (crossings - 1) // ORBIT_BX + 1, (place // ORBIT_BX).astype(np.uint32),
        (place % ORBIT_BX + 1).astype(np.uint16), {"tfmu": table},
    )  # fmt: skip


def _again(crossing: Ints, source: Ints) -> npt.NDArray[np.uint8]:
    """1 where this source came before in its crossing."""
    key = np.stack([crossing, source])
    order = np.lexsort((source, crossing))  # stable: equal ones keep their order
    same = np.zeros(len(source), np.uint8)
    same[order[1:]] = (key[:, order[1:]] == key[:, order[:-1]]).all(axis=0)
    return same
