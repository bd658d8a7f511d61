"""Makes the packaged demo sample: synthetic raw scouting data of a fill with few bunches.

    python -m scout40.tools.make_sample OUTPUT.raw

The content is synthetic: falling spectra with a few Z, J/psi and multijet events, made to look
like a trigger stream and nothing more. The same seed always gives the same bytes.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.formats.gmt import GmtBlockHeader, GmtMuon
from scout40.streams.formats.ugt import UgtEgamma, UgtJet, UgtSums, UgtTau

Array = npt.NDArray[Any]
Columns = dict[str, Array]

SEED = 40
RUN = 400_040
LUMI = 1
FIRST_ORBIT = 1000
ORBITS = 16
BUNCHES = 40
"""Colliding bunches of the fill, of 3564 places."""


def colliding_bx() -> npt.NDArray[np.int64]:
    """Five trains of eight bunches, 25 ns apart inside a train."""
    return np.concatenate([np.arange(8) + first for first in (56, 950, 1844, 2738, 3300)])


class Generator:
    """Objects of one crossing, as hardware columns in the order the trigger sends them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def falling(self, count: int, lowest: float, power: float) -> Array:
        """``count`` transverse momenta in GeV from a spectrum pt^-power above ``lowest``."""
        return lowest * self.rng.random(count) ** (-1.0 / (power - 1.0))

    def calo(self, pt: Array, top: int, widest: float) -> Columns:
        """et, eta, phi columns of at most 12 objects, hardest first; ``top`` is the overflow."""
        count = min(len(pt), 12)
        et = np.sort(np.minimum(np.rint(2 * pt), top).astype(np.int64))[::-1][:count]
        eta = np.rint(self.rng.uniform(-widest, widest, count) / 0.0435).astype(np.int64)
        phi = 2 * self.rng.integers(0, 72, count) + 1  # tower centres: odd codes
        return {"hw_et": et, "hw_eta": np.clip(eta, -115, 114), "hw_phi": phi}

    def jets(self, hard: bool) -> Columns:
        pt = self.falling(self.rng.poisson(3.5), 12.0, 4.6)
        if hard:
            pt = np.concatenate([pt, self.falling(int(self.rng.integers(3, 7)), 45.0, 4.0)])
        jets = self.calo(pt, 2047, 5.0)
        jets["hw_displaced"] = (self.rng.random(len(jets["hw_et"])) < 0.01).astype(np.int64)
        return jets

    def clusters(self, mean: float, lowest: float, widest: float) -> Columns:
        found = self.calo(self.falling(self.rng.poisson(mean), lowest, 4.2), 511, widest)
        found["hw_iso"] = self.rng.choice(4, len(found["hw_et"]), p=(0.35, 0.15, 0.15, 0.35))
        return found

    def muons(self) -> Columns:
        """Up to eight muons: Poisson background plus sometimes a pair from a Z or J/psi."""
        count = self.rng.poisson(0.6)
        pt = self.falling(count, 2.0, 3.4)
        eta = self.rng.uniform(-2.4, 2.4, count)
        phi = self.rng.uniform(0, 2 * np.pi, count)
        sign = self.rng.integers(0, 2, count)
        draw = self.rng.random()
        if draw < 0.04:  # Z: back to back, near 45 GeV each; J/psi: collinear
            mass, first = (91.2, 45.6) if draw < 0.015 else (3.1, float(self.falling(1, 4, 4)[0]))
            pair = self._pair(mass, first)
            pt, eta, phi = (np.concatenate(both) for both in zip((pt, eta, phi), pair, strict=True))
            sign = np.concatenate([sign, [0, 1]])
        order = np.argsort(-pt, kind="stable")[:8]
        return self._muon_columns(pt[order], eta[order], phi[order] % (2 * np.pi), sign[order])

    def _pair(self, mass: float, first: float) -> tuple[Array, Array, Array]:
        second = first * self.rng.uniform(0.8, 1.2)
        eta = self.rng.uniform(-1.6, 1.6)
        half = mass * mass / (2 * first * second)  # = cosh(deta) - cos(dphi)
        if half > 2:  # heavy: opposite in phi, the rest in eta
            dphi, deta = np.pi, np.arccosh(half - 1)
        elif half > 1:
            dphi, deta = np.arccos(1 - half), 0.0
        else:
            dphi, deta = 0.0, np.arccosh(1 + half)
        angle = self.rng.uniform(0, 2 * np.pi)
        width = 1 + 0.04 * self.rng.standard_normal()  # resolution
        return (
            np.array([first, second]) * width,
            np.array([eta, np.clip(eta + deta, -2.4, 2.4)]),
            np.array([angle, angle + dphi]),
        )

    def _muon_columns(self, pt: Array, eta: Array, phi: Array, sign: Array) -> Columns:
        """Hardware columns; track finder, index and quality follow from eta and phi."""
        count = len(pt)
        hw_pt = np.minimum(np.rint(2 * pt).astype(np.int64) + 1, 511)
        at_vertex = np.floor(phi / (2 * np.pi) * 576).astype(np.int64) % 576
        bend = np.minimum(np.rint(60 / np.maximum(pt, 2)).astype(np.int64), 60)
        barrel, overlap = np.abs(eta) < 0.83, (np.abs(eta) >= 0.83) & (np.abs(eta) < 1.24)
        link = np.where(
            barrel, 12 + (phi / (2 * np.pi) * 12).astype(np.int64) % 12,
            (phi / (2 * np.pi) * 6).astype(np.int64) % 6
            + np.where(overlap, np.where(eta > 0, 6, 24), np.where(eta > 0, 0, 30)),
        )  # fmt: skip
        good = self.rng.random(count)
        quality = np.where(good < 0.75, np.where(barrel, 14, 12), np.where(good < 0.9, 8, 4))
        return {
            "hw_pt": hw_pt,
            "hw_phi_at_vtx": at_vertex,
            "hw_phi": (at_vertex + np.where(sign == 1, bend, -bend)) % 576,
            "hw_eta_at_vtx": np.rint(eta / 0.010875).astype(np.int64),
            "hw_qual": quality,
            "hw_iso": np.full(count, 3),
            "hw_sign": sign,
            "hw_charge_valid": np.ones(count, np.int64),
            "tf_muon_index": 3 * link + self.rng.integers(0, 3, count),
            "hw_pt_unconstrained": np.minimum(np.rint(pt).astype(np.int64) + 1, 255),
            "hw_dxy": self.rng.choice(4, count, p=(0.85, 0.1, 0.04, 0.01)),
        }

    def sums(self, jets: Columns, clusters: Columns) -> Columns:
        """Sums of the objects above, with noise."""
        central = (jets["hw_et"] > 60) & (np.abs(jets["hw_eta"]) < 58)
        ht = jets["hw_et"][central]
        total = int(jets["hw_et"].sum() + clusters["hw_et"].sum() + self.rng.gamma(9.0, 12.0))
        noise = self.rng.normal(0, 14, 2)
        etm = _missing(jets["hw_et"], jets["hw_phi"], noise)
        htm = _missing(ht, jets["hw_phi"][central], np.zeros(2))
        return {
            name: np.array([min(value, UgtSums.fields[name].limit)])
            for name, value in {
                "hw_ett": total,
                "hw_ettem": int(clusters["hw_et"].sum()),
                "hw_htt": int(ht.sum()),
                "hw_tower_count": int(self.rng.poisson(180)),
                "hw_etm": etm[0],
                "hw_etm_phi": etm[1],
                "hw_htm": htm[0],
                "hw_htm_phi": htm[1],
                "hw_etmhf": etm[0],
                "hw_etmhf_phi": etm[1],
                "hw_htmhf": htm[0],
                "hw_htmhf_phi": htm[1],
                "hw_mbt0hfp": int(self.rng.integers(0, 16)),
                "hw_mbt0hfm": int(self.rng.integers(0, 16)),
            }.items()
        }


def _missing(et: Array, hw_phi: Array, noise: Array) -> tuple[int, int]:
    """Magnitude and phi code of minus the vector sum."""
    angle = hw_phi * (2 * np.pi / 144)
    x, y = -(et * np.cos(angle)).sum() + noise[0], -(et * np.sin(angle)).sum() + noise[1]
    return int(np.hypot(x, y)), int(np.arctan2(y, x) / (2 * np.pi) * 144) % 144


def gmt_block(bx: int, orbit: int, muons: Columns) -> bytes:
    """Header, then three words a muon; all muons are final ones, of the first group."""
    count = len(muons["hw_pt"])
    pair = {
        "second": np.arange(count) % 2,
        "hw_eta_first": muons["hw_eta_at_vtx"],
        "hw_eta_second": np.roll(muons["hw_eta_at_vtx"], 1),
    }
    header = GmtBlockHeader.pack(
        {"n_a": np.array([count]), "bx": np.array([bx]), "orbit": np.array([orbit])}
    )
    return header.tobytes() + GmtMuon.pack(muons | pair).tobytes()


def calo_block(
    bx: int, orbit: int, jet: Columns, eg: Columns, tau: Columns, sums: Columns
) -> bytes:
    """The 59 words of the DMA form: jet 2, jet 1, e/gamma 2, 1, empty, sums, tau 2, tau 1."""
    links = []
    for word, columns in ((UgtJet, jet), (UgtEgamma, eg), (UgtTau, tau)):
        both = np.zeros(12, "<u4")
        if len(columns["hw_et"]):
            both[: len(columns["hw_et"])] = word.pack(columns)[:, 0]
        links += [both[6:], both[:6]]
    jet2, jet1, eg2, eg1, tau2, tau1 = links
    groups = [jet2, jet1, eg2, eg1, np.zeros(6, "<u4"), UgtSums.pack(sums)[0], tau2, tau1]
    body = b"".join(struct.pack("<I", i) + group.tobytes() for i, group in enumerate(groups))
    return struct.pack("<III", 0, bx, orbit) + body


def orbit_payloads(generator: Generator, orbit: int) -> tuple[bytes, bytes]:
    """GMT and calorimeter payloads of one orbit, source ids not included."""
    gmt, calo = [], []
    for bx in colliding_bx().tolist():
        muons = generator.muons()
        hard = generator.rng.random() < 0.03
        jet = generator.jets(hard)
        eg = generator.clusters(3.0, 3.0, 2.6)
        tau = generator.clusters(3.5, 6.0, 2.2)
        calo.append(calo_block(bx, orbit, jet, eg, tau, generator.sums(jet, eg)))
        if len(muons["hw_pt"]):
            gmt.append(gmt_block(bx, orbit, muons))
    return b"".join(gmt), b"".join(calo)


def sample_bytes(seed: int = SEED, orbits: int = ORBITS) -> bytes:
    """A raw scouting file: FRD file header v2, then per orbit one v6 event for each source."""
    import crc32c

    generator = Generator(seed)
    events = []
    for orbit in range(FIRST_ORBIT, FIRST_ORBIT + orbits):
        for source, blocks in zip((1, 2), orbit_payloads(generator, orbit), strict=True):
            payload = struct.pack("<I", source) + blocks
            checksum = crc32c.crc32c(payload)
            head = struct.pack("<HHIIIII", 6, 0, RUN, LUMI, orbit, len(payload), checksum)
            events.append(head + payload)
    body = b"".join(events)
    head = struct.pack("<4s4sHHIIIQ", b"RAW_", b"0002", 32, 20, len(events), RUN, LUMI, 0)
    return head[:-8] + struct.pack("<Q", len(head) + len(body)) + body


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(sample_bytes())
