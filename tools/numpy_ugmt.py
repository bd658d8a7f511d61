"""The global muon trigger in plain vectorised NumPy: what ``scout40 bench ugmt`` runs beside ours.

Muons are put into rectangular arrays (crossings, 36 links, 3 slots), neighbours are compared by
broadcasting and the sorts are stable argsorts. Firmware with Kalman track addresses in the
barrel and coordinates elsewhere; no muons on the wrong side and no calorimeter sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugmt.addresses import address_rules
from scout40.emulator.ugmt.firmware import Firmware
from scout40.emulator.ugmt.links import (
    EMTF,
    FIRST_LINK,
    N_LINKS,
    PHI_OFFSET,
    PHI_TURN,
    SLOTS,
    STREAM_CAPACITY,
    TRACK_FINDER,
)
from scout40.emulator.ugmt.tables import Tables
from scout40.streams.block import Block
from scout40.streams.errors import Scout40Error

Array = npt.NDArray[Any]

COMPARED = (
    "tf_muon_index", "hw_pt", "hw_qual", "hw_phi", "hw_eta", "hw_phi_at_vtx", "hw_eta_at_vtx",
    "hw_rank", "hw_iso",
)  # fmt: skip
"""Columns that the NumPy version gives."""

_STREAMS = (slice(0, 6), slice(6, 12), slice(12, 24), slice(24, 30), slice(30, 36))
_ADDRESS = ("wheel_side", "wheel_num", "stat1", "stat2", "stat3")
_FIELDS = ("hw_pt", "hw_qual", "hw_eta", "hw_hf", "hw_sign", "hw_phi", *_ADDRESS)
_BEST = 8


class NumpyUgmt:
    """The uGMT of a firmware with Kalman addresses, as arrays."""

    def __init__(self, fw: Firmware, tables: Tables) -> None:
        if (fw.bmtf, fw.emtf, fw.quality) != ("kalman", "coordinates", "full"):
            raise Scout40Error(f"the NumPy uGMT does not know firmware {fw.name}")
        self._tables, self._move = tables, fw.extrapolation
        self._rules = address_rules(fw)

    def run(self, block: Block) -> dict[str, Array]:
        """Final muons: ``COMPARED`` columns and ``counts``, muons per crossing."""
        table = block.tables["tfmu"]
        link, slot = table["link"].astype(np.int64), table["slot"].astype(np.int64)
        crossing = np.repeat(np.arange(len(block)), table.counts())
        place = (crossing * N_LINKS + link - FIRST_LINK) * SLOTS + slot
        muons = {}
        for name in _FIELDS:
            wide = np.zeros(len(block) * N_LINKS * SLOTS, np.int32)
            wide[place] = table[name]
            muons[name] = wide.reshape(-1, N_LINKS, SLOTS)
        muons["hw_phi"] = (PHI_OFFSET[:, None] + muons["hw_phi"]) % PHI_TURN
        muons["hw_hf"] |= (TRACK_FINDER == EMTF)[:, None]
        return self._output(muons, self._sorted(muons))

    def _sorted(self, muons: dict[str, Array]) -> tuple[Array, Array]:
        """Places of the best eight, link * 3 + slot, and their ranks, -1 where there is none."""
        pt, qual = muons["hw_pt"], muons["hw_qual"]
        rank = self._tables.rank[qual << 9 | pt].astype(np.int64)
        rank[(pt == 0) | self._cancelled(muons)] = -1
        rank = rank.reshape(len(pt), N_LINKS * SLOTS)
        places, ranks = [], []
        for stream, kept in zip(_STREAMS, STREAM_CAPACITY, strict=True):
            first = stream.start * SLOTS
            part = rank[:, first : stream.stop * SLOTS]
            order = np.argsort(-part, axis=1, kind="stable")[:, :kept]
            places.append(order + first)
            ranks.append(np.take_along_axis(part, order, axis=1))
        place, rank = np.concatenate(places, axis=1), np.concatenate(ranks, axis=1)
        order = np.argsort(-rank, axis=1, kind="stable")[:, :_BEST]
        return np.take_along_axis(place, order, axis=1), np.take_along_axis(rank, order, axis=1)

    def _cancelled(self, muons: dict[str, Array]) -> Array:
        cancelled = np.zeros(muons["hw_pt"].shape, bool)
        qual, exists = muons["hw_qual"], muons["hw_pt"] > 0
        for first, second, kind in _neighbours():
            left, right = np.s_[:, first, :, None], np.s_[:, second, None, :]
            match = self._addresses(muons, left, right) if kind < 0 else None
            if match is None:
                match = self._coordinates(muons, left, right, kind)
            match = match & exists[left] & exists[right]
            better = qual[left] > qual[right] if kind >= 4 else qual[left] >= qual[right]
            cancelled[:, second] |= (match & better).any(axis=2)
            cancelled[:, first] |= (match & ~better).any(axis=3)
        return cancelled

    def _coordinates(self, muons: dict[str, Array], left: Any, right: Any, kind: int) -> Array:
        deta = np.abs(muons["hw_eta"][left] - muons["hw_eta"][right])
        dphi = np.abs(muons["hw_phi"][left] - muons["hw_phi"][right])
        dphi = np.minimum(dphi, PHI_TURN - dphi)
        near = (deta < 32) & (dphi < 8)
        fine = muons["hw_hf"][left] & muons["hw_hf"][right]
        address = np.where(near, fine << 8 | deta << 3 | dphi, 0)
        match: Array = near & (self._tables.match[kind][address] == 1)
        return match

    def _addresses(self, muons: dict[str, Array], left: Any, right: Any) -> Array:
        side, wheel = muons["wheel_side"], muons["wheel_num"]
        where = side[left] << 5 | wheel[left] << 3 | side[right] << 2 | wheel[right]
        table = self._rules.relation[where] << 8
        match: Array = np.zeros(table.shape, bool)
        for station in ("stat1", "stat2", "stat3"):
            codes = muons[station][left] << 4 | muons[station][right]
            match |= self._rules.codes[table | codes] == 1
        return match

    def _output(self, muons: dict[str, Array], best: tuple[Array, Array]) -> dict[str, Array]:
        place, rank = best
        there = rank >= 0
        rows = np.broadcast_to(np.arange(len(place))[:, None], place.shape)[there]
        place = place[there]
        at = {name: muons[name].reshape(-1, N_LINKS * SLOTS)[rows, place] for name in _FIELDS}
        pt, eta, move = at["hw_pt"], at["hw_eta"], self._move
        cell = (np.abs(eta) >> (8 - move.eta_bits)) & ((1 << move.eta_bits) - 1)
        address = np.where(pt >> move.pt_bits, 0, cell << move.pt_bits | pt)
        finder = TRACK_FINDER[place // SLOTS]
        moved = (pt >> move.pt_bits) == 0
        dphi = self._tables.phi_extrapolation[finder, address] * moved << move.phi_shift
        deta = self._tables.eta_extrapolation[finder, address] * moved
        return {
            "counts": there.sum(axis=1),
            "tf_muon_index": place,
            "hw_pt": pt,
            "hw_qual": at["hw_qual"],
            "hw_phi": at["hw_phi"],
            "hw_eta": eta,
            "hw_phi_at_vtx": (at["hw_phi"] + np.where(at["hw_sign"], -dphi, dphi)) % PHI_TURN,
            "hw_eta_at_vtx": eta + np.where(eta > 0, -deta, deta),
            "hw_rank": rank[there],
            "hw_iso": self._tables.absolute_isolation[0] + 2 * self._tables.relative_isolation[pt],
        }


def _neighbours() -> Iterator[tuple[Array, Array, int]]:
    """First and second links of each comparison, and the row of its match table; -1: addresses."""
    ring, barrel = np.arange(6), np.arange(12)
    yield 12 + barrel, 12 + (barrel + 1) % 12, -1
    for side, (overlap, endcap) in enumerate(((6, 0), (24, 30))):
        yield overlap + ring, overlap + (ring + 1) % 6, side
        yield endcap + ring, endcap + (ring + 1) % 6, 2 + side
        for step in range(4):
            yield overlap + ring, 12 + (2 * ring + step) % 12, 4 + side
        for step in (-1, 0, 1):
            yield overlap + ring, endcap + (ring + step) % 6, 6 + side
