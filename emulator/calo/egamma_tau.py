"""e/gammas and taus of each crossing: the way through the rings that both share.

clusters.py has the seeds and the sort, egamma.py and tau.py say what becomes of a cluster.
"""

from __future__ import annotations

from typing import Any

from scout40.emulator.calo import clusters
from scout40.emulator.calo.clusters import (
    CELL_PHI,
    HW_ET,
    SEED,
    clear,
    clear_ring,
    is_maximum,
    send,
    sort_ring,
)
from scout40.emulator.calo.clusters_grid import count_towers, fill_side_grids, tower_columns
from scout40.emulator.calo.clusters_tables import ClusterTables
from scout40.emulator.calo.egamma import EGAMMA_RINGS, egamma_candidate
from scout40.emulator.calo.geometry import FIRST, N_M, N_PHI, STRIDE, fill_grid
from scout40.emulator.calo.sort import NAME_BITS
from scout40.emulator.calo.tau import TAU_RINGS, tau_candidate
from scout40.streams.block import Table
from scout40.streams.errors import BadInput
from scout40.streams.jit import njit, pointer


def egamma(towers: Table, tables: ClusterTables | None = None) -> Table:
    """e/gammas of each crossing, up to 12 in falling order of Et.

    towers:
        table ``tower`` with er_bits and misc_bits; without these there is no electron below 128
        GeV. tables: see clusters_tables.py.

    Columns: hw_et, hw_eta, hw_phi, hw_iso as UgtEgamma; raw_et, iso_et (Et in the isolation area),
    ieta, iphi of the seed. Raises BadInput for a tower that cannot be.
    """
    return _objects(towers, tables, is_tau=False)


def taus(towers: Table, tables: ClusterTables | None = None) -> Table:
    """Taus of each crossing, as :func:`egamma`; misc_bits only matter to the calibration."""
    return _objects(towers, tables, is_tau=True)


def _objects(towers: Table, tables: ClusterTables | None, is_tau: bool) -> Table:
    columns = tower_columns(towers)
    output = clusters.found(len(towers.offsets) - 1)
    arrays = (tables or ClusterTables()).arrays()
    bad = _crossings(is_tau, columns, arrays, clusters.lookup(), clusters.scratch(), output)
    if bad >= 0:
        raise BadInput(f"tower {bad} comes twice in its crossing", field="hw_eta")
    return clusters.table_of(output)


@njit
def _crossings(is_tau: bool, towers: Any, tables: Any, look: Any, work: Any, output: Any) -> Any:
    """All crossings; index of a tower that comes twice, or -1."""
    base = 0
    last_ring = TAU_RINGS if is_tau else EGAMMA_RINGS
    for crossing in range(output.counts.shape[0]):
        start, stop = towers.offsets[crossing], towers.offsets[crossing + 1]
        clear(work)
        highest, bad = fill_grid(
            work.grid, towers.hw_et, towers.hw_eta, towers.hw_phi, towers.row_of, start, stop
        )
        if bad >= 0:
            return bad
        if highest < SEED:
            continue
        fill_side_grids(towers, start, stop, work.em, work.flags)
        count = count_towers(towers, start, stop)
        name = 0
        for side in range(2):
            for ring in range(1, last_ring + 1):
                name = _ring(is_tau, tables, look, work, side, ring, count, name)
                sort_ring(look, work.ring, work.best, side)
        base = send(look, work, output, crossing, base)
    return -1


@njit
def _ring(
    is_tau: bool, tables: Any, look: Any, work: Any, side: int, ring: int, count: int, name: int
) -> Any:
    """Candidates of one ring into the sorter's places; the next free name."""
    row = N_M - 1 + ring if side == 0 else N_M - ring
    grid = pointer(work.grid)
    clear_ring(work.ring)
    for column in range(N_PHI):
        cell = FIRST + row * STRIDE + column
        if grid[cell] < SEED or not is_maximum(grid, cell, 1, 4):
            continue
        if is_tau:
            et = tau_candidate(tables, look, work, cell, row, ring, count, name)
        else:
            et = egamma_candidate(tables, look, work, cell, row, ring, count, name)
        if et > 0:
            work.candidates[name, HW_ET] = et
            work.candidates[name, CELL_PHI] = column + 1
            work.ring[(N_PHI - 1 - column) // 4] = et << NAME_BITS | name
            name += 1
    return name
