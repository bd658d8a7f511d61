"""Rectangular object arrays, requirement masks and pair quantities, in NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import luts
from scout40.emulator.ugt.model import Limits, Requirement, Window
from scout40.emulator.ugt.objects import LISTS
from scout40.streams.block import Block
from scout40.streams.layout import Bits

Bool = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

SLOTS = 12


class View:
    """Rectangular object arrays of a block, made when first asked for."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self._padded: dict[tuple[str, str], Array] = {}
        self._sets: dict[Requirement, Array] = {}

    def field(self, kind: str, column: str) -> Array:
        """int64 (n, SLOTS), 0 where there is no object."""
        table = self.block.tables[LISTS[kind].table]
        key = (LISTS[kind].table, column)
        if key not in self._padded:
            counts = table.counts()
            place = np.arange(len(table)) - np.repeat(table.offsets[:-1], counts)
            rows = np.repeat(np.arange(len(counts)), counts)
            out = np.zeros((len(counts), SLOTS), np.int64)
            keep = place < SLOTS
            out[rows[keep], place[keep]] = table[column][keep]
            self._padded[key] = out
        return self._padded[key]

    def cut(self, kind: str, name: str) -> Array:
        return self.field(kind, LISTS[kind].fields[name].name)

    def passing(self, requirement: Requirement) -> Array:
        """uint16 (n,): bit set of the slots whose object satisfies the requirement."""
        if requirement not in self._sets:
            good = self._mask(requirement)
            weights = (1 << np.arange(SLOTS)).astype(np.uint16)
            self._sets[requirement] = (good * weights).sum(axis=1, dtype=np.uint16)
        return self._sets[requirement]

    def _mask(self, need: Requirement) -> Bool:
        kind = LISTS[need.object]
        pt = self.cut(need.object, "pt")
        good: Bool = pt == need.threshold if need.comparison == "eq" else pt >= need.threshold
        if kind.zero_exists:
            rows = self.block.tables[kind.table].counts() > 0
            good &= rows[:, None] & (np.arange(SLOTS) == 0)
        else:
            good &= pt > 0
        for name in ("eta", "phi", "index"):
            windows: tuple[Window, ...] = getattr(need, name)
            if windows:
                good &= _in_windows(self.cut(need.object, name), windows, kind.fields[name])
        for name in ("quality", "isolation", "impact_parameter"):
            mask: int | None = getattr(need, name)
            if mask is not None:
                good &= (mask >> self.cut(need.object, name)) & 1 == 1
        if need.upt is not None:
            upt = self.cut(need.object, "upt")
            good &= (need.upt.lower <= upt) & (upt <= need.upt.upper)
        if need.charge is not None:
            good &= self.field("MU", "hw_charge_valid") == 1
            good &= self.field("MU", "hw_sign") == (need.charge == "negative")
        if need.displaced is not None:
            good &= self.cut(need.object, "displaced") == need.displaced
        if need.slice is not None:
            slots = np.arange(SLOTS)
            good &= (need.slice.lower <= slots) & (slots <= need.slice.upper)
        return good


def _in_windows(values: Array, windows: tuple[Window, ...], bits: Bits) -> Bool:
    """Windows are inclusive; a menu may give a negative limit as its raw code."""
    good = np.zeros(values.shape, bool)
    turn = 1 << bits.width
    for window in windows:
        low, high = (
            limit - turn if bits.signed and limit > bits.limit else limit
            for limit in (window.lower, window.upper)
        )
        if low <= high:
            good |= (low <= values) & (values <= high)
        else:
            good |= (values >= low) | (values <= high)
    return good


class Pair:
    """Differences and masses of all slot pairs of two object types, (rows, SLOTS, SLOTS)."""

    def __init__(self, view: View, rows: Array, first: str, second: str) -> None:
        self._view, self._rows, self._types = view, rows, (first, second)
        muons = (first == "MU") + (second == "MU")
        names: tuple[luts.Pair, ...] = ("calo_calo", "calo_mu", "mu_mu")
        self.scale = names[muons]
        self.digits = luts.MATH_DIGITS[self.scale]
        phi = [self._on_scale(name, "phi", muons == 1) for name in self._types]
        half = 288 if muons else 72
        dphi = np.abs(phi[0][:, :, None] - phi[1][:, None, :])
        self.dphi = np.where(dphi >= half, 2 * half - dphi, dphi)
        self._deta: Array | None = None

    @property
    def deta(self) -> Array:
        if self._deta is None:
            mixed = self.scale == "calo_mu"
            eta = [self._on_scale(name, "eta", mixed) for name in self._types]
            self._deta = np.abs(eta[0][:, :, None] - eta[1][:, None, :])
        return self._deta

    def _on_scale(self, name: str, field: str, mixed: bool) -> Array:
        values = self._view.cut(name, field)[self._rows]
        if not mixed or name == "MU":
            return values
        if field == "eta":
            muon_eta: Array = luts.calo_eta_to_muon()[values & 0xFF]
            return muon_eta
        muon_phi: Array = luts.calo_phi_to_muon()[values]
        return muon_phi

    def _pt(self, name: str, unconstrained: bool) -> Array:
        if unconstrained:
            return luts.pt_x10("mu_unconstrained")[self._view.cut(name, "upt")[self._rows]]
        scales: dict[str, luts.PtScale] = {"MU": "mu", "EG": "eg", "TAU": "tau", "JET": "jet"}
        codes = self._view.cut(name, "pt")[self._rows]
        return luts.pt_x10(scales.get(name, "sum"))[codes]

    def mass(self, transverse: bool = False, unconstrained: bool = False) -> Array:
        """M^2/2 in 10^-(2 + digits) GeV^2."""
        a, b = (self._pt(name, unconstrained) for name in self._types)
        cosh = 10**self.digits if transverse else luts.cosh_deta(self.scale)[self.deta]
        cos = luts.cos_dphi(self.scale)[self.dphi]
        out: Array = a[:, :, None] * b[:, None, :] * (cosh - cos)
        return out

    def inside(self, cut: str, limits: Limits, transverse: bool = False) -> Bool:
        """Pairs within the limits of one cut."""
        if cut == "DETA":
            return between(luts.deta(self.scale)[self.deta], limits, 3)
        if cut == "DPHI":
            return between(luts.dphi(self.scale)[self.dphi], limits, 3)
        if cut == "DR":
            deta, dphi = luts.deta(self.scale)[self.deta], luts.dphi(self.scale)[self.dphi]
            return between(deta**2 + dphi**2, limits, 6)
        mass = self.mass(transverse, unconstrained=cut == "MASSUPT")
        return between(mass, limits, 2 + self.digits)


def between(values: Array, limits: Limits, digits: int) -> Bool:
    low, high = (int(limit.scaleb(digits)) for limit in (limits.minimum, limits.maximum))
    inside: Bool = (low <= values) & (values <= high)
    return inside
