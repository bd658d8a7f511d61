"""Jets of calorimeter layer 2, from trigger towers to the two sorted lists.

Rule, as in the public description of the CMS calorimeter layer 2 and its parameters:

1. Seed: tower of Et >= 8 (4 GeV) that is the largest of the 9 x 9 towers around it. Of equal
   towers that one stays which has none with larger deta + dphi, then larger deta, as seen from
   it; deta is counted in rows without gaps, positive towards positive eta on both sides.
2. Et: sum of the 9 x 9 towers less pile-up (pileup.py); with a saturated seed 65535. What is not
   above 0 is dropped.
3. Candidates: in ring order, see geometry.RING_ROWS; this list feeds the sums over jets.
4. Calibration (calibration.py), where the setting has one. A saturated jet is calibrated on its
   way to the sorters, but not in the list of candidates.
5. Of each ring the 6 largest go on, found by a network of as many places as there are jets, in
   rising phi (only which ones stay matters). They are sorted by a network of 18 places, place
   (72 - iphi) // 4, and fed to the accumulating sort of their eta side, which runs over rings of
   rising |eta| and sends 6. The demux sorts both sides together, positive first, by a network of
   as many places as there are jets, and limits Et to 2047. At the global trigger hw_eta is the
   code nearest to the tower's centre, at most 114 (clusters_grid.py), hw_phi is 2 iphi - 1.

No more than 14 jets fit in a ring and 224 in a crossing, because any two seeds are 5 towers apart
in eta or in phi; so the limit of 18 a ring never acts. Quality and displaced bits are not known
to the public description of these steps: they are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.calo import geometry
from scout40.emulator.calo.calibration import OVERFLOW, Calibration, packaged_calibration
from scout40.emulator.calo.clusters_grid import FINE_ETA
from scout40.emulator.calo.config import CaloConfig
from scout40.emulator.calo.geometry import MAX_ET, N_PHI, NO_ROW
from scout40.emulator.calo.jet_kernel import (
    RANK,
    Candidates,
    Lists,
    Rules,
    Towers,
    find,
    scratch_space,
)
from scout40.emulator.calo.pileup import PILE_UP
from scout40.emulator.calo.sort import COMPARATORS, KEPT_OF_SIDE, STARTS
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.errors import BadInput

Array = npt.NDArray[Any]

MAX_JETS = 224
"""14 in each of 16 bands of 5 rows: seeds are 5 towers apart."""
MAX_SENT = 2 * KEPT_OF_SIDE
MAX_DEMUX_ET = 2047
HW_ETA_OF_ROW = FINE_ETA[:, 0].copy()
"""int8 (80,): hw_eta at the global trigger; every code of a jet in data of 2024 is among them."""

_MEASURED = ("raw_et", "seed_et", "pu_et")


@dataclass(frozen=True, slots=True)
class Jets:
    """Jets of a block after each step; every table has one row of offsets per crossing.

    presort: all candidates in ring order. processor: up to 6 of positive, then up to 6 of negative
    eta, each in falling order; Et up to 65535. demux: up to 12 in falling order, Et up to 2047.

    Columns: hw_et, raw_et (9 x 9 sum), seed_et, pu_et (subtracted), ieta, iphi; processor and
    demux also hw_eta, hw_phi, hw_displaced and hw_qual as at the global trigger, and gt_eta, gt_phi
    as in public files of expected jets (geometry.GT_ETA_OF_ROW). LSB 0.5 GeV.
    """

    presort: Table
    processor: Table
    demux: Table


def find_jets(block: Block, config: CaloConfig, calibration: Calibration | None = None) -> Jets:
    """Jets from the table ``tower`` of a block.

    calibration: for settings that calibrate; None takes the packaged one of 2024. Raises BadInput
    naming orbit, bx and field when a tower has no place on the detector, more than 9 bits or
    comes twice; towers of Et 0 are ignored wherever they are.
    """
    table = block.tables.get("tower")
    if table is None:
        raise BadInput("jets need the table tower: trigger towers with hw_et, hw_eta, hw_phi")
    columns = [_column(table, *c) for c in (("hw_et", "u2"), ("hw_eta", "i1"), ("hw_phi", "u1"))]
    towers = Towers(
        table.offsets, columns[0], columns[1].view(np.uint8), columns[2],
        geometry.CELL_OF_IETA, geometry.RING_ROWS, geometry.M_OF_ROW, RANK,
    )  # fmt: skip
    chosen = calibration or packaged_calibration()
    rules = Rules(
        PILE_UP[config.pile_up], config.seed_threshold, config.calibrated,
        chosen.multiplier, chosen.addend, COMPARATORS, STARTS,
    )  # fmt: skip
    rows = len(block)
    room = int(np.minimum(table.counts(), MAX_JETS).sum())
    found = Candidates(*(np.empty(room, t) for t in ("u2", "u2", "u2", "u2", "u1", "u1", "u2")))
    sent = min(room, rows * MAX_SENT)
    lists = Lists(np.empty(sent, "i4"), np.empty(sent, "i4"), np.zeros((3, rows), np.int32))
    bad = find(towers, rules, scratch_space(), found, lists)
    if bad >= 0:
        raise _bad_tower(block, columns, bad)
    return _tables(found, lists)


def _column(table: Table, name: str, dtype: str) -> Array:
    """A column in the kernel's dtype; BadInput for values that it does not hold."""
    values = table.columns.get(name)
    if values is None:
        raise BadInput("table tower lacks this column", field=name)
    if values.dtype.kind not in "iu":
        raise BadInput(f"tower: {values.dtype} values, expected integers", field=name)
    if values.dtype != dtype and len(values):
        info = np.iinfo(dtype)
        low, high = values.min(), values.max()
        if low < info.min or high > info.max:
            raise BadInput(f"tower: values {low}..{high} beyond {info.min}..{info.max}", field=name)
    return np.ascontiguousarray(values, dtype)


def _bad_tower(block: Block, columns: list[Array], crossing: int) -> BadInput:
    """What is wrong with the first bad tower of a crossing."""
    towers = block.tables["tower"].offsets[crossing : crossing + 2]
    grid = np.zeros(geometry.CELLS, np.uint16)
    _, k = geometry.fill_grid(
        grid, columns[0], columns[1], columns[2], geometry.ROW_OF, towers[0], towers[1]
    )
    et, ieta, iphi = (int(column[k]) for column in columns)
    field, text = "hw_eta", f"tower ieta {ieta}, iphi {iphi} comes twice"
    if et > MAX_ET:
        field, text = "hw_et", f"tower Et {et}, expected at most {MAX_ET}"
    elif geometry.ROW_OF[ieta & 0xFF] == NO_ROW:
        text = f"tower ieta {ieta}, expected +-1..28 or +-30..41"
    elif not 1 <= iphi <= N_PHI:
        field, text = "hw_phi", f"tower iphi {iphi}, expected 1..{N_PHI}"
    orbit, bx = int(block.orbit[crossing]), int(block.bx[crossing])
    return BadInput(text, orbit=orbit, bx=bx, field=field)


def _tables(found: Candidates, lists: Lists) -> Jets:
    """CSR tables of the kernel's output."""
    offsets = [offsets_of(counts) for counts in lists.counts]
    n = offsets[0][-1]
    presort = {name: getattr(found, name)[:n].copy() for name in ("hw_et", *_MEASURED)}
    presort |= {"ieta": geometry.IETA_OF_ROW[found.row[:n]], "iphi": found.iphi[:n].copy()}

    def sent(index: Array, limit: int) -> dict[str, Array]:
        row, iphi = found.row[index], found.iphi[index]
        phi = geometry.gt_phi(iphi)
        return {
            "hw_et": np.minimum(found.sorter_et[index], np.uint16(limit)),
            "hw_eta": HW_ETA_OF_ROW[row],
            "hw_phi": phi,
            "hw_displaced": np.zeros(len(index), np.uint8),
            "hw_qual": np.zeros(len(index), np.uint8),
            **{name: getattr(found, name)[index] for name in _MEASURED},
            "ieta": geometry.IETA_OF_ROW[row],
            "iphi": iphi,
            "gt_eta": geometry.GT_ETA_OF_ROW[row],
            "gt_phi": phi,
        }

    return Jets(
        Table(presort, offsets[0]),
        Table(sent(lists.processor[: offsets[1][-1]], OVERFLOW), offsets[1]),
        Table(sent(lists.demux[: offsets[2][-1]], MAX_DEMUX_ET), offsets[2]),
    )
