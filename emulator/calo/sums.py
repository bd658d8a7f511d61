"""Energy sums of calorimeter layer 2: HTT, HTM, HTMHF from jets; ETT, ETTEM, ETM, ETMHF, minimum
bias and tower count from towers.

From the jets before the sorts cut them to twelve, those of Et > 30 GeV:

* HTT: sum of Et, |ieta| <= 26; HTM: the same jets, HTMHF: all eta. Each jet adds
  (Et * cos) >> 4 and (Et * sin) >> 4 with tables of 10 bits; CORDIC (cordic.py); magnitude >> 6,
  azimuth >> 4. Without jets the CORDIC of (0, 0) is what the hardware sends: 0 at azimuth 111.
* A saturated jet among them: 4095, azimuth 0.

From the towers, |ieta| <= 28:

* ETT: sum of Et; ETTEM: sum of the electromagnetic part; tower count: towers with energy.
* ETM, and ETMHF with the forward calorimeter: Et * cos and Et * sin of towers above a threshold
  that depends on pile-up and ring, from a table; 0 without. Magnitude >> 10, azimuth >> 4.
* Minimum bias: forward towers with the HCAL (0) and the fine-grain flag (1) per side, up to 15.
* A saturated tower (509..511; for ETTEM 510, 511): 4095, azimuth 0.

Confirmed bit by bit on the 2024 data test vector: HTT, HTM and HTMHF, the saturated and the empty
case included. Not confirmed by any public vector: all that comes from towers. Asymmetries and
centrality depend on settings that are not public; they are 0.

Source: public description of the CMS calorimeter layer 2 (sums, jet sums and demux sums) and
caloParams_2024_v0_2. Magnitudes are limited to 4095.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.calo.calibration import OVERFLOW
from scout40.emulator.calo.clusters_grid import (
    FINE_GRAIN,
    HCAL,
    count_towers,
    tower_columns,
)
from scout40.emulator.calo.clusters_tables import EG_TOWERS, ClusterTables
from scout40.emulator.calo.cordic import ROTATIONS, cordic, cosines, sines
from scout40.emulator.calo.geometry import N_PHI, NO_ROW, SATURATED
from scout40.emulator.calo.jets import MAX_DEMUX_ET
from scout40.streams.block import Table
from scout40.streams.errors import BadInput
from scout40.streams.formats.ugt import UgtSums
from scout40.streams.jit import njit

Array = npt.NDArray[Any]

JET_THRESHOLD = 60
"""Jets above this Et count, LSB 0.5 GeV."""
JET_RING = 26
JET_ETA = 57
"""Codes of eta that belong to |ieta| <= 26."""
TOWER_RING = 28
LIMIT = 4095
SATURATED_JET = OVERFLOW
SATURATED_WORD = MAX_DEMUX_ET
FLAT_RING = 13
"""Below this ring the threshold does not depend on pile-up."""
MAX_COUNT = 15


class _Jets(NamedTuple):
    offsets: Array
    et: Array
    central: Array
    column: Array
    saturated: Array


class _Trigonometry(NamedTuple):
    cos: Array
    sin: Array
    angles: Array


def energy_sums(jets: Table, towers: Table | None, tables: ClusterTables | None = None) -> Table:
    """The sums words of each crossing, columns of UgtSums, one row per crossing.

    jets:
        candidates with hw_et (65535 = saturated), ieta and iphi; or jets as at the global trigger
        with hw_et (2047 = saturated), hw_eta and hw_phi, whose sums are right only when no more
        than eleven jets were there.
    towers:
        table ``tower``; None leaves what comes from towers at 0.
    tables:
        of these met_threshold and eg_compress are used, when there.

    Raises BadInput when columns are missing or hold what no jet or tower has.
    """
    rows = len(jets.offsets) - 1
    trigonometry = _Trigonometry(cosines(), sines(), ROTATIONS)
    out = np.zeros((rows, 5), np.int64)
    _jet_sums(_jet_columns(jets), trigonometry, out)
    values = dict(zip(("htt", "htm", "htm_phi", "htmhf", "htmhf_phi"), out.T, strict=True))
    if towers is not None:
        if len(towers.offsets) != len(jets.offsets):
            raise BadInput(f"towers of {len(towers.offsets) - 1} crossings, jets of {rows}")
        arrays = (tables or ClusterTables()).arrays()
        from_towers = np.zeros((rows, len(_TOWER_SUMS)), np.int64)
        columns = tower_columns(towers)
        _tower_sums(columns, trigonometry, arrays.met_threshold, arrays.eg_compress, from_towers)
        values |= zip(_TOWER_SUMS, from_towers.T, strict=True)
    filled = {
        name: values.get(name.removeprefix("hw_"), np.zeros(rows, np.int64)).astype(bits.dtype)
        for name, bits in UgtSums.fields.items()
    }
    return Table(filled, np.arange(rows + 1, dtype=np.int32))


def _jet_columns(jets: Table) -> _Jets:
    """Jets by place, from either kind of columns."""
    raw = {"ieta", "iphi"} <= set(jets.columns)
    eta_name, phi_name = ("ieta", "iphi") if raw else ("hw_eta", "hw_phi")
    for name in ("hw_et", eta_name, phi_name):
        if name not in jets.columns:
            raise BadInput("table jet lacks this column", field=name)
    et = np.asarray(jets["hw_et"], np.int64)
    size = abs(np.asarray(jets[eta_name], np.int64))
    phi = np.asarray(jets[phi_name], np.int64)
    column = phi - 1 if raw else (phi + 1) // 2 - 1
    bad = (et > 0) & ((column < 0) | (column >= N_PHI))
    if bad.any():
        at = int(bad.argmax())
        raise BadInput(f"jet {at}: {int(phi[at])} is no azimuth of a jet", field=phi_name)
    central = size <= (JET_RING if raw else JET_ETA)
    saturated = et >= (SATURATED_JET if raw else SATURATED_WORD)
    return _Jets(jets.offsets, et, central, np.clip(column, 0, N_PHI - 1), saturated)


@njit
def _missing(x: int, y: int, saturated: bool, shift: int, angles: Any) -> Any:
    """(magnitude, azimuth) as sent."""
    if saturated:
        return LIMIT, 0
    magnitude, phase = cordic(x, y, angles)
    return min(magnitude >> shift, LIMIT), phase >> 4


@njit
def _jet_sums(jets: Any, table: Any, out: Any) -> None:
    """htt, htm, its azimuth, htmhf, its azimuth into int64 (rows, 5)."""
    for row in range(out.shape[0]):
        total, x, y, all_x, all_y = 0, 0, 0, 0, 0
        inner, outer = False, False
        for k in range(jets.offsets[row], jets.offsets[row + 1]):
            et, column = jets.et[k], jets.column[k]
            if et <= JET_THRESHOLD:
                continue
            dx = (et * table.cos[column]) >> 4
            dy = (et * table.sin[column]) >> 4
            all_x += dx
            all_y += dy
            outer |= jets.saturated[k]
            if jets.central[k]:
                total += et
                x += dx
                y += dy
                inner |= jets.saturated[k]
        out[row, 0] = LIMIT if inner else min(total, LIMIT)
        out[row, 1], out[row, 2] = _missing(x, y, inner, 6, table.angles)
        out[row, 3], out[row, 4] = _missing(all_x, all_y, outer, 6, table.angles)


_TOWER_SUMS = (
    *("ett", "ettem", "tower_count", "etm", "etm_phi", "etmhf", "etmhf_phi"),
    *("mbt0hfp", "mbt1hfp", "mbt0hfm", "mbt1hfm"),
)


@njit
def _threshold(met: Any, compress: Any, count: int, ring: int) -> Any:
    """Et that a tower of this ring must exceed to count in missing energy."""
    if met.shape[0] == 0:
        return 0
    if ring < FLAT_RING:
        return met[ring]
    return met[compress[EG_TOWERS + min(count, 255)] << 6 | ring]


@njit
def _tower_sums(towers: Any, table: Any, met: Any, compress: Any, out: Any) -> None:
    """The sums of _TOWER_SUMS into int64 (rows, 11), which must be 0 before."""
    for row in range(out.shape[0]):
        start, stop = towers.offsets[row], towers.offsets[row + 1]
        count = count_towers(towers, start, stop)
        x, y, all_x, all_y = 0, 0, 0, 0
        full, em_full, met_full, all_full = False, False, False, False
        for k in range(start, stop):
            et: Any = np.int64(towers.hw_et[k])
            place = np.int64(towers.row_of[np.uint8(towers.hw_eta[k])])
            if place == NO_ROW:
                continue
            ring = towers.ring_of[place]
            saturated = et >= SATURATED
            if et > _threshold(met, compress, count, ring):
                dx = et * table.cos[towers.hw_phi[k] - 1]
                dy = et * table.sin[towers.hw_phi[k] - 1]
                all_x += dx
                all_y += dy
                all_full |= saturated
                if ring <= TOWER_RING:
                    x += dx
                    y += dy
                    met_full |= saturated
            if ring <= TOWER_RING:
                out[row, 0] += et
                out[row, 1] += towers.em[k]
                out[row, 2] += et > 0
                full |= saturated
                em_full |= et > SATURATED
            else:
                side = 7 if towers.hw_eta[k] > 0 else 9
                out[row, side] += towers.flags[k] & HCAL != 0
                out[row, side + 1] += towers.flags[k] & FINE_GRAIN != 0
        out[row, 0] = LIMIT if full else min(out[row, 0], LIMIT)
        out[row, 1] = LIMIT if em_full else min(out[row, 1], LIMIT)
        out[row, 3], out[row, 4] = _missing(x, y, met_full, 10, table.angles)
        out[row, 5], out[row, 6] = _missing(all_x, all_y, all_full, 10, table.angles)
        for k in range(7, 11):
            out[row, k] = min(out[row, k], MAX_COUNT)
