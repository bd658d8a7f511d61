"""Random numbers that depend on a key and a number alone, so on no order and no thread.

A draw is the finaliser of SplitMix64 of key + (number + 1) * GOLDEN, as in the synthetic stream
(docs/stream.md). A key is one uint64 for each thing that is made: a muon, a crossing.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.jit import njit

Keys = npt.NDArray[np.uint64]
Array = npt.NDArray[np.float64]

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_UNIT = 2.0**-53


def seed_key(*parts: object) -> int:
    """64 bits of the SHA-256 of the parts, written with ``str`` and joined by line breaks."""
    text = "\n".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def keys_of(seed: int, count: int) -> Keys:
    """Keys of the things 0 .. count - 1."""
    return draws(np.full(count, seed, np.uint64), np.arange(count, dtype=np.uint64))


def draws(keys: Keys, number: Any) -> Keys:
    """uint64 (n,): the draw ``number`` (one, or one for each key) of every key."""
    out = np.empty(len(keys), np.uint64)
    _draws(keys, np.broadcast_to(np.asarray(number, np.uint64), keys.shape).copy(), out)
    return out


def uniform(keys: Keys, number: int) -> Array:
    """(n,) numbers in (0, 1)."""
    out = np.empty(len(keys))
    _uniform(keys, number, out)
    return out


def normal(keys: Keys, number: int) -> Array:
    """(n,) numbers of the standard normal distribution; uses draws 2 number, 2 number + 1."""
    out = np.empty(len(keys))
    _normal(keys, number, out)
    return out


@njit
def draw(key: Any, number: Any) -> Any:
    """One draw, uint64."""
    x = key + (np.uint64(number) + np.uint64(1)) * np.uint64(_GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_SECOND)
    return x ^ (x >> np.uint64(31))


@njit
def unit(bits: Any) -> float:
    """A draw as a number in (0, 1), never an end."""
    return (float(bits >> np.uint64(11)) + 0.5) * _UNIT


@njit
def normal_pair(key: Any, number: int) -> tuple[float, float]:
    """Two independent normal numbers from the draws 2 number, 2 number + 1 (Box and Muller)."""
    radius = math.sqrt(-2.0 * math.log(unit(draw(key, 2 * number))))
    angle = 2.0 * math.pi * unit(draw(key, 2 * number + 1))
    return radius * math.cos(angle), radius * math.sin(angle)


@njit
def _draws(keys: Any, numbers: Any, out: Any) -> None:
    for k in range(len(keys)):
        out[k] = draw(keys[k], numbers[k])


@njit
def _uniform(keys: Any, number: int, out: Any) -> None:
    for k in range(len(keys)):
        out[k] = unit(draw(keys[k], number))


@njit
def _normal(keys: Any, number: int, out: Any) -> None:
    for k in range(len(keys)):
        out[k] = normal_pair(keys[k], number)[0]
