"""Pythia: the particles of collisions that can become muons of the trigger.

Kept are muons, and charged pions and kaons, inside |eta| 2.6 that may reach the second muon
station. Pions and kaons are not decayed here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.muons.decays import KAON, PION
from scout40.emulator.muons.draws import seed_key
from scout40.streams.errors import BadConfig, Scout40Error
from scout40.tools.simulate_config import Process, Samples

Array = npt.NDArray[Any]

PACKAGE = "pythia8mc"
MUON, PI, K = 13, 211, 321
BOSON, ONIUM, B_HADRON, C_HADRON, TAU, FROM_PION, FROM_KAON, HADRON, NO_PARENT, OTHER = range(10)
"""Values of the column ``parent``; docs/simulation.md names them."""
PARENTS = (
    "W, Z, photon or H", "charmonium or bottomonium", "b hadron", "c hadron", "tau",
    "pion in flight", "kaon in flight", "punch-through hadron", "noise", "other",
)  # fmt: skip
MOST_ETA = 2.6
_PYTHIA_SEEDS = 900_000_000
_GENERATIONS = 20


@dataclass(frozen=True)
class Particles:
    """Candidates of one shard, (n,) each, in order of events.

    event: number 0.. in the shard. pdg: PDG code. parent: of muons, what they come from.
    px, py, pz: float32 GeV. x, y, z: float32 mm, where they are made. events, sigma: generated
    events of the shard, and the cross section in mb.
    """

    event: Array
    pdg: Array
    parent: Array
    px: Array
    py: Array
    pz: Array
    x: Array
    y: Array
    z: Array
    events: int
    sigma: float

    COLUMNS = ("event", "pdg", "parent", "px", "py", "pz", "x", "y", "z")

    @property
    def is_muon(self) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = np.abs(self.pdg) == MUON
        return found

    @property
    def charge(self) -> npt.NDArray[np.float64]:
        """+1 or -1; the negative muon has the positive code."""
        sign = np.sign(self.pdg).astype(np.float64)
        return np.where(self.is_muon, -sign, sign)

    @property
    def hadron(self) -> npt.NDArray[np.int64]:
        """PION or KAON, of those that are no muons."""
        return np.where(np.abs(self.pdg) == K, KAON, PION)


def version() -> str:
    """Version of the generator; BadConfig when it is not installed."""
    _module()
    return importlib.metadata.version(PACKAGE)


def generate(process: Process, samples: Samples, seed: int, block: int, events: int) -> Particles:
    """Particles of one shard; the same for the same arguments, whatever was made before."""
    module = _module()
    pythia = module.Pythia("", False)
    number = 1 + seed_key("pythia", seed, process.name, block) % _PYTHIA_SEEDS
    fixed = ("Print:quiet = on", "Random:setSeed = on", f"Random:seed = {number}")
    for line in (*fixed, *samples.settings, *process.settings):
        if not pythia.readString(line):
            raise BadConfig(f"process {process.name}: Pythia does not know the setting {line!r}")
    if not pythia.init():
        raise Scout40Error(f"process {process.name}: Pythia cannot be initialised")
    parts: list[dict[str, Array]] = []
    done = 0
    while done < events:
        wanted = min(samples.batch, events - done)
        batch = pythia.nextBatch(wanted)
        if len(batch) == 0:
            raise Scout40Error(f"process {process.name}: Pythia makes no events")
        parts.append(_candidates(batch.prt, done))
        done += len(batch)
    sigma = float(pythia.infoPython().sigmaGen())
    columns = {name: np.concatenate([p[name] for p in parts]) for name in Particles.COLUMNS}
    return Particles(**columns, events=done, sigma=sigma)


def _module() -> Any:
    try:
        return importlib.import_module(PACKAGE)
    except ImportError as error:
        raise BadConfig(
            f"{PACKAGE} is missing: pip install 'scout40[simulate]' ({error})"
        ) from error


def _candidates(batch: Any, first: int) -> dict[str, Array]:
    """Columns of Particles; ``batch``: particles of events, as awkward array."""
    import awkward as ak

    counts = ak.num(batch.id).to_numpy()
    pdg, status, mother = (
        ak.flatten(batch[name]).to_numpy().astype(np.int64) for name in ("id", "status", "mother1")
    )
    px, py, pz = (ak.flatten(batch.p[name]).to_numpy() for name in ("px", "py", "pz"))
    event = np.repeat(np.arange(len(counts)), counts)
    keep = (status > 0) & np.isin(np.abs(pdg), (MUON, PI, K))
    keep &= _reaches(px, py, pz)
    rows = np.flatnonzero(keep)
    begin = np.concatenate([[0], np.cumsum(counts)[:-1]])
    place = {
        axis: ak.flatten(ak.fill_none(batch.vProd[f"p{axis}"], 0.0)).to_numpy()[rows]
        for axis in "xyz"
    }
    return {
        "event": (first + event[rows]).astype(np.uint32),
        "pdg": pdg[rows].astype(np.int32),
        "parent": _parents(rows, pdg, mother, begin[event[rows]]),
        **{name: values[rows].astype(np.float32) for name, values in
           (("px", px), ("py", py), ("pz", pz))},
        **{axis: values.astype(np.float32) for axis, values in place.items()},
    }  # fmt: skip


def _reaches(px: Array, py: Array, pz: Array) -> npt.NDArray[np.bool_]:
    """Momenta of which some get to the second station; a little below what does."""
    pt = np.hypot(px, py)
    eta = np.abs(np.arcsinh(pz / np.maximum(pt, 1e-6)))
    endcap = (pt > 1.6) & (np.hypot(pt, pz) > 5.0)
    found: npt.NDArray[np.bool_] = np.select(
        [eta < 0.8, eta < 1.2, eta < MOST_ETA], [pt > 3.0, pt > 2.7, endcap], False
    )
    return found


def _parents(rows: Array, pdg: Array, mother: Array, begin: Array) -> npt.NDArray[np.uint8]:
    """Kind of the first mother that is another particle."""
    at = begin + mother[rows]
    for _ in range(_GENERATIONS):
        same = np.abs(pdg[at]) == np.abs(pdg[rows])
        if not same.any():
            break
        at = np.where(same, begin + mother[at], at)
    code = np.abs(pdg[at])
    flavours = [code // 10 % 10, code // 100 % 10, code // 1000 % 10]
    hidden = (flavours[0] == flavours[1]) & (flavours[2] == 0)
    heaviest = np.maximum(flavours[1], flavours[2])
    return np.select(
        [
            (code >= 22) & (code <= 25), code == 15, code < 100,
            hidden & (heaviest >= 4), heaviest == 5, heaviest == 4,
        ],
        [BOSON, TAU, OTHER, ONIUM, B_HADRON, C_HADRON], OTHER,
    ).astype(np.uint8)  # fmt: skip
