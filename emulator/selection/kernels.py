"""The loops of the selection, over all crossings of a block; each adds bits to ``out``.

``out`` is uint32 (crossings,); offsets are int32 (crossings + 1,) as in a Table.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scout40.streams.jit import njit, pointer


@njit
def base(
    orbit: Any, every: Any, words: Any, used: Any, masks: Any, always: Any, bits: Any, out: Any
) -> None:
    """Start ``out``: ``always``, bits[0] in orbits kept whole, bits[1] where a menu bit is set.

    words: uint64 (n * 8,); used: int64 (k,) the words looked at; masks: uint64 (k,) theirs.
    """
    flags = pointer(words)
    last = np.int64(-1)
    whole = False
    for row in range(orbit.shape[0]):
        reason = always
        if every > 0:
            if np.int64(orbit[row]) != last:
                last = np.int64(orbit[row])
                whole = last % every == 0
            if whole:
                reason |= bits[0]
        for k in range(used.shape[0]):
            if flags[8 * row + used[k]] & masks[k]:
                reason |= bits[1]
        out[row] = reason


@njit
def count_muons(
    offsets: Any, hw_pt: Any, hw_qual: Any, tf_muon_index: Any, rules: Any, out: Any
) -> None:
    """Rules on numbers of muons; rules: int64 (k, 6), see ``selectors.muon_row``."""
    at, pts, qualities = pointer(offsets), pointer(hw_pt), pointer(hw_qual)
    indices, reasons = pointer(tf_muon_index), pointer(out)
    for k in range(rules.shape[0]):
        pt, quality, low, high, least, bit = rules[k]
        first = np.int64(at[0])
        for row in range(out.shape[0]):
            last = np.int64(at[row + 1])
            if last - first >= least:
                found = 0
                for i in range(first, last):
                    # Added, not branched on: whether a muon passes cannot be predicted.
                    good = (pts[i] >= pt) & (qualities[i] >= quality)
                    found += good & (indices[i] >= low) & (indices[i] <= high)
                reasons[row] |= np.uint32(np.uint32(found >= least) << np.uint32(bit))
            first = last


@njit
def count_jets(offsets: Any, hw_et: Any, rules: Any, out: Any) -> None:
    """Rules on numbers of jets; rules: int64 (k, 3), see ``selectors.jet_row``."""
    for row in range(out.shape[0]):
        first, last = offsets[row], offsets[row + 1]
        for k in range(rules.shape[0]):
            found = 0
            for i in range(first, last):
                if hw_et[i] >= rules[k, 0]:
                    found += 1
            if found >= rules[k, 1]:
                out[row] |= np.uint32(1 << rules[k, 2])


@njit
def tagged_jets(
    jet_offsets: Any, jets: Any, mu_offsets: Any, muons: Any, values: Any, rule: Any, out: Any
) -> None:
    """Crossings with a jet that has a muon nearby.

    jets: (hw_et, hw_eta, hw_phi); muons: (hw_qual, hw_eta, hw_phi). values: float32 tables of jet
    eta, jet phi, muon eta, muon phi by code, lengths powers of 2. rule: code of et, quality,
    largest dR, bit.
    """
    hw_et, jet_eta, jet_phi = jets
    hw_qual, mu_eta, mu_phi = muons
    least, quality, farthest, bit = rule
    for row in range(out.shape[0]):
        for j in range(jet_offsets[row], jet_offsets[row + 1]):
            if hw_et[j] < least:
                continue
            for m in range(mu_offsets[row], mu_offsets[row + 1]):
                if hw_qual[m] < quality:
                    continue
                eta = np.float64(values[0][np.int64(jet_eta[j]) & (values[0].shape[0] - 1)])
                phi = np.float64(values[1][np.int64(jet_phi[j]) & (values[1].shape[0] - 1)])
                eta -= values[2][np.int64(mu_eta[m]) & (values[2].shape[0] - 1)]
                phi -= values[3][np.int64(mu_phi[m]) & (values[3].shape[0] - 1)]
                if phi > math.pi:
                    phi -= 2 * math.pi
                elif phi <= -math.pi:
                    phi += 2 * math.pi
                if np.float32(math.sqrt(eta * eta + phi * phi)) < farthest:
                    out[row] |= np.uint32(1 << bit)


@njit
def stub_windows(orbit: Any, bx: Any, offsets: Any, wheel: Any, rule: Any, out: Any) -> None:
    """Windows of crossings with enough stubs; rule: crossings, stubs, wheels (0 or 1), bit."""
    length, least, wheels, bit = rule
    for row in range(out.shape[0]):
        if offsets[row + 1] == offsets[row] or bx[row] < length:
            continue
        start = row  # the first row of the window
        while start > 0 and orbit[start - 1] == orbit[row] and bx[start - 1] + length > bx[row]:
            start -= 1
        if offsets[row + 1] - offsets[start] < least:
            continue
        near = False
        before = 0  # wheels of the crossings so far, and their neighbours
        for other in range(start, row + 1):
            mine = 0
            for i in range(offsets[other], offsets[other + 1]):
                mine |= 1 << (wheel[i] + 5)
            near |= (mine & before) != 0
            before |= mine | (mine << 1) | (mine >> 1)
        if near or not wheels:
            for other in range(start, row + 1):
                out[other] |= np.uint32(1 << bit)


@njit
def spread(
    orbit: Any, bx: Any, window: Any, before: Any, after: Any, neighbour: Any, out: Any
) -> Any:
    """Mark crossings at most ``window`` from a chosen one; (first, last chosen, any open).

    before, after: times orbit * 3564 + bx - 1 of the nearest chosen crossings outside the rows.
    Open: an unmarked row at the end that a crossing after the last orbit could still reach.
    """
    rows = out.shape[0]
    last = before
    for row in range(rows):
        time = np.int64(orbit[row]) * 3564 + bx[row] - 1
        if out[row] & ~neighbour:
            last = time
        elif time - last <= window:
            out[row] |= neighbour
    first = after
    waiting = False
    end = (np.int64(orbit[rows - 1]) + 1) * 3564 if rows else np.int64(0)
    for k in range(rows):
        row = rows - 1 - k
        time = np.int64(orbit[row]) * 3564 + bx[row] - 1
        if out[row] & ~neighbour:
            first = time
        elif first - time <= window:
            out[row] |= neighbour
        elif not out[row] and time + window >= end:
            waiting = True
    return first, last, waiting


@njit
def objects_of(offsets: Any, rows: Any) -> Any:
    """(offsets of the objects of the crossings ``rows``, their places in the table)."""
    edges = np.empty(rows.shape[0] + 1, np.int32)
    edges[0] = 0
    for k in range(rows.shape[0]):
        edges[k + 1] = edges[k] + offsets[rows[k] + 1] - offsets[rows[k]]
    places = np.empty(edges[-1], np.int64)
    for k in range(rows.shape[0]):
        for i in range(edges[k + 1] - edges[k]):
            places[edges[k] + i] = offsets[rows[k]] + i
    return edges, places
