"""How fast GMT packets become columns, beside NumPy and beside a plain copy of the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.errors import Scout40Error
from scout40.streams.formats.gmt import GmtMuon, ScoutingMuon
from scout40.streams.layout import Bits
from scout40.streams.sources.raw_tables import unpack_gmt
from scout40.streams.sources.raw_unpack import Packets
from scout40.tools.measure import Measure, interleaved

Array = npt.NDArray[Any]

MEGABYTES = 100
BLOCK_ORBITS = 1024
"""Orbits unpacked at a time, by both."""

CROSSINGS = 237
"""Non-empty crossings of one synthetic orbit; with 1.22 muons each about 289 muons an orbit."""


def bench(quick: bool) -> list[Measure]:
    """GMT unpack of all fields: against NumPy (at least 10x) and memcpy (within 5x)."""
    packets = synthetic(5 if quick else MEGABYTES)
    _check_equal(packets)
    count = len(packets.starts)
    parts = [packets.take(k, min(k + BLOCK_ORBITS, count)) for k in range(0, count, BLOCK_ORBITS)]

    def ours() -> None:
        for part in parts:
            unpack_gmt(part)

    def numpy() -> None:
        for part in parts:
            numpy_unpack(part)

    def copy() -> None:
        packets.words.copy()

    times = interleaved([ours, numpy, copy], rounds=3 if quick else 7)
    gigabytes = packets.words.nbytes / 1e9
    speed, of_numpy, of_copy = (gigabytes / time for time in times)
    detail = f"all fields of {gigabytes * 1000:.0f} MB of GMT packets, {count} synthetic orbits"
    return [
        Measure(
            "unpack_vs_numpy", speed, "GB/s", of_numpy, "NumPy", speed / of_numpy, 10.0, "at least",
            detail=detail,
        ),
        Measure(
            "unpack_vs_memcpy", speed, "GB/s", of_copy, "memcpy", of_copy / speed, 5.0, "at most",
            detail=f"{detail}, against a copy of the same bytes into a new array",
        ),
    ]  # fmt: skip


def synthetic(megabytes: float, seed: int = 1) -> Packets:
    """Packets of whole orbits with random muons, one packet an orbit."""
    rng = np.random.default_rng(seed)
    per_block = 3 + 3 * 1.22
    orbits = max(1, int(megabytes * 1e6 / 4 / (CROSSINGS * per_block)))
    count = rng.choice([1, 2, 3], (orbits, CROSSINGS), p=(0.82, 0.14, 0.04))
    bx = 1 + np.arange(CROSSINGS) * 15 + rng.integers(0, 15, (orbits, CROSSINGS))
    length = (3 + 3 * count).sum(axis=1)
    stops = np.cumsum(length)
    first = np.concatenate([[0], np.cumsum(3 + 3 * count.ravel())[:-1]])
    words = rng.integers(0, 1 << 32, int(stops[-1]), np.uint32)
    words |= np.uint32(1 << GmtMuon.fields["hw_pt"].lo)  # every muon has a pt
    words &= np.uint32(0x7FFFFFFF)  # and none is intermediate
    words[first] = count.ravel() << 16
    words[first + 1] = bx.ravel()
    words[first + 2] = np.repeat(np.arange(orbits), CROSSINGS)
    return Packets(words, stops - length, stops, np.arange(orbits), np.ones(orbits, np.uint8))


def numpy_unpack(packets: Packets) -> tuple[Array, Array, dict[str, Array]]:
    """(orbit << 12 | bx, muons) of every crossing and all columns, with NumPy alone.

    The blocks of one packet form a chain, so the packets are walked side by side.
    """
    words, at = packets.words, packets.starts.copy()
    steps: list[tuple[Array, Array, Array]] = []
    active = at < packets.stops
    while active.any():
        here = np.flatnonzero(active)
        place = at[here]
        head = words[place]
        count = ((head >> 16) & 15) + (head & 15)
        bx = words[place + 1]
        good = (bx >= 1) & (bx <= 3564) & (3 * count.astype(np.int64) <= packets.stops[here])
        if not good.all():
            raise Scout40Error("NumPy unpack: bad packet")
        steps.append((packets.orbit[here] << 12 | bx, place + 3, count))
        at[here] += 3 + 3 * count
        active = at < packets.stops
    key, start, number = (np.concatenate(part) for part in zip(*steps, strict=True))
    order = np.argsort(key, kind="stable")
    key, start, number = key[order], start[order], number[order].astype(np.int64)
    within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    index = np.repeat(start, number) + 3 * within
    rows = np.stack([words[index], words[index + 1], words[index + 2]], axis=1)
    keep = ((rows[:, 0] >> 10) & 0x1FF != 0) & (rows[:, 2] >> 31 == 0)
    rows = rows[keep]
    extra = rows[:, 2]
    rows[:, 2] = ((extra >> (9 * (extra & 1))) >> 13 & 0x1FF) << 13
    columns = {name: _field(rows, bits) for name, bits in ScoutingMuon.fields.items()}
    return key, number, columns


def _field(rows: Array, bits: Bits) -> Array:
    raw = (rows[:, bits.word] >> np.uint32(bits.lo)) & np.uint32(bits.mask)
    if not bits.signed:
        return raw.astype(bits.dtype)
    values = raw.astype(np.int64)
    return np.where(values > bits.limit, values - (1 << bits.width), values).astype(bits.dtype)


def _check_equal(packets: Packets) -> None:
    """A benchmark of wrong answers says nothing: both must agree on all columns."""
    muons, bad = unpack_gmt(packets)
    key, number, columns = numpy_unpack(packets)
    same = not bad and np.array_equal(muons.orbit << 12 | muons.bx, key)
    same = same and np.array_equal(muons.counts, number)
    for name, values in columns.items():
        same = same and np.array_equal(muons.columns[name], values)
    if not same:
        raise Scout40Error("bench unpack: compiled and NumPy columns differ")
