"""The uGMT as a stage: a block with track-finder muons in, the same with output muons out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugmt import links
from scout40.emulator.ugmt.addresses import address_rules
from scout40.emulator.ugmt.cancel_out import WITHIN, CancelRules, Crossing
from scout40.emulator.ugmt.extrapolate import extrapolation_rules
from scout40.emulator.ugmt.firmware import Firmware
from scout40.emulator.ugmt.inputs import address_columns, bad_row, calo_sums, muon_columns
from scout40.emulator.ugmt.isolate import isolation_rules
from scout40.emulator.ugmt.kernel import (
    DISORDER,
    Kept,
    LinkRules,
    PerMuon,
    Raw,
    Rules,
    emulate,
    gather,
)
from scout40.emulator.ugmt.neighbours import neighbours
from scout40.emulator.ugmt.quality import output_quality
from scout40.emulator.ugmt.sort import N_STREAMS, STRIDE, SortLists
from scout40.emulator.ugmt.tables import Tables
from scout40.streams.block import Block, Table
from scout40.streams.formats.track_finder import REGIONS

Array = npt.NDArray[Any]
Columns = dict[str, Array]

NO_MUON = -999
"""What the columns of the steps hold where hw_pt is 0."""


class Ugmt:
    """The global muon trigger of one firmware, with the contents of its tables."""

    def __init__(self, fw: Firmware, tables: Tables) -> None:
        self.firmware = fw
        self.tables = tables
        self._rules = Rules(
            LinkRules(
                links.TRACK_FINDER,
                links.PHI_OFFSET,
                links.STREAM,
                links.STREAM_CAPACITY,
                tables.rank,
            ),
            CancelRules(neighbours(fw), tables.match.ravel(), address_rules(fw)),
            extrapolation_rules(fw, tables),
            isolation_rules(tables),
        )

    def run(self, block: Block, details: bool = False) -> Block:
        """The block with tables ``mu`` and ``mu_intermediate``; a pure function.

        block:
            table ``tfmu``, columns as in ``inputs.MUON_COLUMNS`` and the track addresses that the
            firmware compares, in a crossing ordered by link and slot; muons of hw_pt 0 do not
            exist. Table ``calosum`` (ieta, iphi, et) if there are calorimeter sums.
        details:
            also give ``tfmu`` the int16 columns global_phi, rank, dphi, deta, cancel and
            cancel_within_tf; -999 where hw_pt is 0.

        ``mu``: up to eight per crossing, best first, with the columns of the output word
        (``formats.ugt.UgtMuon``) and hw_eta, hw_rank, dphi_extra, deta_extra, hw_iso_sum,
        calo_eta_index, calo_phi_index. ``mu_intermediate``: up to 24, by stream (0..4 EMTF+,
        OMTF+, BMTF, OMTF-, EMTF-) and place in it, ``pos``; isolation is not known of them.

        Raises BadInput naming crossing and column for values out of range, muons out of order
        and calorimeter sums that are sent twice.
        """
        columns = muon_columns(block)
        table = block.tables["tfmu"]
        raw = Raw(
            columns["link"], columns["slot"], columns["hw_pt"], columns["hw_qual"],
            columns["hw_eta"], columns["hw_hf"], columns["hw_sign"], columns["hw_phi"],
            np.array(table.offsets, np.int32),
        )  # fmt: skip
        found = PerMuon(*(np.empty(len(table), np.int16) for _ in PerMuon._fields))
        kept = _room(len(block), len(table))
        reason, row = emulate(
            raw, address_columns(block, self.firmware), calo_sums(block), self._rules,
            _crossing(), _lists(), found, kept,
        )  # fmt: skip
        if reason == DISORDER:
            message = "muons must be ordered by link and slot, each once"
            raise bad_row(block, table, row, message, "link")
        if reason:
            message = "a calorimeter sum occurs twice"
            raise bad_row(block, block.tables["calosum"], row, message, "ieta")
        tables = dict(block.tables)
        columns["output_qual"] = output_quality(self.firmware, columns)
        tables["mu"] = self._final(columns, found, kept)
        tables["mu_intermediate"] = self._intermediate(columns, found, kept)
        if details:
            steps = _details(columns["hw_pt"] == 0, found)
            tables["tfmu"] = Table({**table.columns, **steps}, table.offsets)
        return block.replace(tables=tables)

    def _final(self, columns: Columns, found: PerMuon, kept: Kept) -> Table:
        count = int(kept.offsets[-1])
        cell = kept.calo_place[:count]
        out = self._muons(columns, found, kept.row[:count])
        out["hw_iso"] = kept.iso[:count]
        out["hw_iso_sum"] = kept.iso_sum[:count]
        out["calo_eta_index"] = (cell // REGIONS).astype(np.uint8)
        out["calo_phi_index"] = (cell % REGIONS).astype(np.uint8)
        return Table(out, kept.offsets)

    def _intermediate(self, columns: Columns, found: PerMuon, kept: Kept) -> Table:
        count = int(kept.between_offsets[-1])
        out = {"stream": kept.stream[:count], "pos": kept.position[:count]}
        out |= self._muons(columns, found, kept.between_row[:count])
        return Table(out, kept.between_offsets)

    def _muons(self, columns: Columns, found: PerMuon, rows: Array) -> Columns:
        """Columns of the output word, but isolation, and of the steps before, at input rows."""

        def at(values: Array, dtype: type) -> Array:
            out: Array = np.empty(len(rows), dtype)
            gather(values, rows, out)
            return out

        vertex = self.firmware.vertex_output
        index = at(columns["link"], np.uint8) - np.uint8(links.FIRST_LINK)
        index = links.SLOTS * index + at(columns["slot"], np.uint8)
        eta, deta = at(columns["hw_eta"], np.int16), at(found.deta, np.int8)
        return {
            "hw_phi_at_vtx": at(found.vertex_phi if vertex else found.phi, np.uint16),
            "hw_pt": at(columns["hw_pt"], np.uint16),
            "hw_qual": at(columns["output_qual"], np.uint8),
            "hw_eta_at_vtx": eta + deta if vertex else eta.copy(),
            "hw_sign": at(columns["hw_sign"], np.uint8),
            "hw_charge_valid": at(columns["hw_sign_valid"], np.uint8),
            "tf_muon_index": index,
            "hw_phi": at(found.phi, np.uint16),
            "hw_pt_unconstrained": at(columns["hw_pt_unconstrained"], np.uint8),
            "hw_shower": np.zeros(len(rows), np.uint8),
            "hw_dxy": at(columns["hw_dxy"], np.uint8),
            "hw_eta": eta,
            "hw_rank": at(found.rank, np.uint16),
            "dphi_extra": at(found.dphi, np.int8),
            "deta_extra": deta,
        }


def _room(crossings: int, muons: int) -> Kept:
    """Arrays for the output; no crossing has more muons than its input has."""
    return Kept(
        offsets=np.zeros(crossings + 1, np.int32),
        row=np.empty(muons, np.int32),
        iso=np.empty(muons, np.uint8),
        iso_sum=np.empty(muons, np.uint8),
        calo_place=np.empty(muons, np.int16),
        between_offsets=np.zeros(crossings + 1, np.int32),
        between_row=np.empty(muons, np.int32),
        stream=np.empty(muons, np.uint8),
        position=np.empty(muons, np.uint8),
    )


def _crossing() -> Crossing:
    row, link, qual, eta, phi, fine, cancel = np.zeros((7, links.SLOTS * links.N_LINKS), np.int32)
    start, stop = np.zeros((2, links.N_LINKS), np.int64)
    cells = np.zeros(64, np.int64)
    return Crossing(row, link, qual, eta, phi, fine, cancel, cells, start, stop)


def _lists() -> SortLists:
    lists = N_STREAMS + 1
    key, count = np.zeros(lists * STRIDE, np.int64), np.zeros(lists, np.int64)
    return SortLists(key, count, np.zeros(N_STREAMS, np.int64))


def _details(empty: Array, found: PerMuon) -> Columns:
    """int16 columns by input muon; NO_MUON where there is none."""
    steps = {
        "global_phi": found.phi,
        "rank": found.rank,
        "dphi": found.dphi,
        "deta": found.deta,
        "cancel": (found.cancel != 0).astype(np.int16),
        "cancel_within_tf": found.cancel & WITHIN,
    }
    return {name: np.where(empty, np.int16(NO_MUON), values) for name, values in steps.items()}
