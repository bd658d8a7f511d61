"""Everything that is fitted to the detector model, computed once and kept in a file.

Besides the momentum of the finders (``momentum``) these are contents of the uGMT's extrapolation
tables: how far azimuth and eta at the station are from those at the vertex, on average, by |eta|
and assigned momentum. They have the hardware's form: 5 bits of |hw_eta| and 7 of hw_pt, steps of
four units in azimuth and one in eta, 4 bits. Displacements above 0.65 rad therefore saturate.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.draws import keys_of, seed_key
from scout40.emulator.muons.fit import fit_groups
from scout40.emulator.muons.found import MUON, find
from scout40.emulator.muons.momentum import FINDERS, Momentum, falling, fit_momentum
from scout40.emulator.muons.response import Response
from scout40.emulator.muons.stations import wrap
from scout40.emulator.ugmt.firmware import firmware
from scout40.emulator.ugmt.tables import EXTRAPOLATION_ADDRESSES
from scout40.streams.formats.scales import MUON_ETA, MUON_PHI

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int16]

FIRMWARE = "2024"
LEAST_PT = 2.0
"""GeV; below it a table stays as it is there."""
_ETA_CODES, _HIGHEST = 15, 8


class Calibration(NamedTuple):
    """momentum: see there. phi, eta: int16 (3, 4096), as in ``emulator.ugmt.tables.Tables``."""

    momentum: Momentum
    phi: Codes
    eta: Codes


def calibrate(response: Response) -> Calibration:
    """Computed; a few seconds, the same on any number of threads."""
    momentum = fit_momentum(response)
    phi, eta = _extrapolation(momentum, response)
    return Calibration(momentum, phi, eta)


def calibration(response: Response, folder: Path) -> Calibration:
    """The one of a response from a file in ``folder``, which is made if there is none."""
    path = folder / f"track_finders-{response.digest()[:16]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            momentum = Momentum(*(file[name] for name in Momentum._fields))
            return Calibration(momentum, file["phi"], file["eta"])
    made = calibrate(response)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {**made.momentum._asdict(), "phi": made.phi, "eta": made.eta}
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".npz", delete=False) as stream:
        np.savez(stream, **arrays)
    os.replace(stream.name, path)
    return made


def _extrapolation(momentum: Momentum, response: Response) -> tuple[Codes, Codes]:
    """Least squares in 1 / pt to the third power, for every finder and |eta| cell."""
    move = firmware(FIRMWARE).extrapolation
    keys = keys_of(seed_key("extrapolation", response.calibration_seed), response.calibration_scale)
    tracks = falling(keys, response)
    muons = find(tracks, np.full(len(keys), MUON), keys, response, momentum)
    true, sign = tracks.take(muons.source), 1.0 - 2.0 * muons.hw_sign
    cells = 1 << move.eta_bits
    cell = np.minimum(np.abs(muons.hw_eta) >> (_HIGHEST - move.eta_bits), cells - 1)
    group = muons.finder * cells + cell
    dphi = sign * wrap(true.phi - muons.hw_phi * MUON_PHI.lsb)
    deta = np.abs(muons.hw_eta * MUON_ETA.lsb) - np.abs(true.eta)
    codes = np.arange(1 << move.pt_bits)
    found = []
    for target, unit, limit in (
        (dphi, MUON_PHI.lsb * (1 << move.phi_shift), (1 << move.phi_bits) - 1),
        (deta, MUON_ETA.lsb, _ETA_CODES),
    ):
        weight = np.ones(len(target))
        fitted = fit_groups(_powers(muons.hw_pt), target, weight, group, FINDERS * cells)
        mean = fitted @ _powers(codes).T
        table = np.clip(np.rint(mean / unit), 0, limit).astype(np.int16)
        table[:, 0] = 0  # hw_pt 0 is no muon
        found.append(table.reshape(FINDERS, EXTRAPOLATION_ADDRESSES))
        found[-1].flags.writeable = False
    return found[0], found[1]


def _powers(hw_pt: npt.NDArray[np.int64]) -> Array:
    inverse = 1 / np.maximum((hw_pt - 0.5) / 2, LEAST_PT)  # centre of the step
    return np.stack([inverse, inverse**2, inverse**3], axis=1)
