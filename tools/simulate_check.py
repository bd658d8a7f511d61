"""How good the response is: widths of residuals, and the comparison with real Level-1 muons.

The real ones are trigger muons of NanoAOD files that carry the pt and charge of the Level-1 muon,
matched to an offline muon. They were accepted by a trigger, so they are slightly better than all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.calibration import calibration
from scout40.emulator.muons.draws import draws, keys_of, seed_key
from scout40.emulator.muons.found import MUON, find
from scout40.emulator.muons.momentum import falling, prompt
from scout40.emulator.muons.propagate import Tracks
from scout40.emulator.muons.response import Response
from scout40.emulator.muons.sent import Sent, emulator, send
from scout40.emulator.muons.stations import wrap
from scout40.streams.formats.scales import MUON_ETA, MUON_PHI

Array = npt.NDArray[np.float64]

FILES = ("nano_dimuon.root", "nano_dy.root", "nano_tt_v15.root")
"""Real data of 2018, then simulations of CMS."""
REGIONS = ((0.0, 0.83), (0.83, 1.24), (1.24, 2.4))
NAMES = ("barrel", "overlap", "endcap")
PT_RANGE = (8.0, 60.0)
_MUON_ID, _NEAR = 13, 0.1


@dataclass(frozen=True)
class Matched:
    """Offline pt (GeV) and eta, Level-1 pt (GeV), and whether the charges agree; (n,)."""

    pt: Array
    eta: Array
    l1_pt: Array
    charge: npt.NDArray[np.bool_]

    @property
    def log_ratio(self) -> Array:
        """Logarithm of Level-1 pt over pt."""
        result: Array = np.log(self.l1_pt / self.pt)
        return result

    def take(self, where: Any) -> Matched:
        """Some of them, by index or mask."""
        return Matched(self.pt[where], self.eta[where], self.l1_pt[where], self.charge[where])

    def region(self, number: int) -> Matched:
        """Those of a region of REGIONS."""
        low, high = REGIONS[number]
        return self.take((np.abs(self.eta) >= low) & (np.abs(self.eta) < high))


def fwhm(values: Array, low: float, high: float, bins: int = 200) -> float:
    """Full width at half maximum of a histogram in [low, high), smoothed over five bins."""
    counts, edges = np.histogram(values, bins, (low, high))
    smooth = np.convolve(counts, np.ones(5) / 5, "same")
    above = np.flatnonzero(smooth > smooth.max() / 2)
    return float(edges[above[-1] + 1] - edges[above[0]])


def robust(values: Array) -> float:
    """Half of the distance between the quantiles 16 % and 84 %."""
    low, high = np.quantile(values, [0.16, 0.84])
    return float(high - low) / 2


def real_muons(folder: Path, files: Sequence[str] = FILES) -> Matched:
    """Level-1 muons of these files whose nearest offline muon is within 0.1, in PT_RANGE."""
    import uproot

    rows: list[tuple[float, float, float, bool]] = []
    names = [f"TrigObj_{name}" for name in ("id", "eta", "phi", "l1pt", "l1charge")]
    names += [f"Muon_{name}" for name in ("pt", "eta", "phi", "charge")]
    for file in files:
        with uproot.open(folder / file) as root:
            table = root["Events"].arrays(names, library="np")
        for event in zip(*(table[name] for name in names), strict=True):
            rows += _matches(*event)
    pt, eta, l1_pt, charge = (np.array(column) for column in zip(*rows, strict=True))
    found = Matched(pt, eta, l1_pt, charge.astype(bool))
    return found.take((found.pt > PT_RANGE[0]) & (found.pt < PT_RANGE[1]))


def _matches(*event: npt.NDArray[Any]) -> list[tuple[float, float, float, bool]]:
    """Rows of one event, in the order of the branches."""
    kind, eta, phi, l1_pt, l1_charge, pt, at_eta, at_phi, charge = event
    rows = []
    for k in np.flatnonzero((kind == _MUON_ID) & (l1_pt > 0)):
        distance = np.hypot(at_eta - eta[k], wrap(np.asarray(at_phi - phi[k], np.float64)))
        if len(distance) and distance.min() < _NEAR:
            near = int(distance.argmin())
            agree = int(l1_charge[k]) == int(charge[near])
            rows.append((float(pt[near]), float(at_eta[near]), float(l1_pt[k]), agree))
    return rows


def simulated(tracks: Tracks, response: Response, folder: Path, seed: str = "check") -> Sent:
    """What the uGMT sends of single muons, one a crossing. folder: of the fitted tables."""
    fitted = calibration(response, folder)
    count = len(tracks)
    keys = keys_of(seed_key(seed), count)
    found = find(tracks, np.full(count, MUON), keys, response, fitted.momentum)
    return send(found, np.arange(count), count, emulator(response, fitted))


def replicas(real: Matched, response: Response, folder: Path, times: int = 400) -> Matched:
    """The same offline muons, each as often, through the model; those that are found."""
    pt, eta = np.repeat(real.pt, times), np.repeat(real.eta, times)
    tracks = prompt(pt, eta, draws(keys_of(seed_key("replicas"), len(pt)), 0))
    sent = simulated(tracks, response, folder)
    first = np.flatnonzero(sent.ghost == 0)
    source = sent.source[first]
    l1_pt = (sent.columns["hw_pt"][first] - 1.0) / 2
    sign = 1 - 2 * sent.columns["hw_sign"][first].astype(int)
    return Matched(pt[source], eta[source], np.maximum(l1_pt, 0.25), sign == tracks.charge[source])


def residuals(response: Response, folder: Path, count: int) -> dict[str, Array]:
    """phi (rad), eta and relative pt residuals of the falling spectrum above 3 GeV."""
    tracks = falling(keys_of(seed_key("residuals"), count), response)
    sent = simulated(tracks, response, folder)
    first = np.flatnonzero((sent.ghost == 0) & (np.abs(tracks.eta[sent.source]) < 2.4))
    true = tracks.take(sent.source[first])
    columns = {name: values[first].astype(np.float64) for name, values in sent.columns.items()}
    return {
        "phi": wrap(columns["hw_phi_at_vtx"] * MUON_PHI.lsb - true.phi),
        "eta": columns["hw_eta_at_vtx"] * MUON_ETA.lsb - true.eta,
        "pt": (columns["hw_pt"] - 1) / 2 / true.pt - 1,
    }
