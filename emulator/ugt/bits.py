"""Decision words: the 512 algorithm bits of a crossing as 8 words of 64 bits.

Algorithm ``i`` is bit ``i % 64`` of word ``i // 64``; a block of n crossings is uint64, (n, 8).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.streams.errors import BadConfig
from scout40.streams.jit import inline

N_ALGORITHMS = 512
"""Algorithm slots of the global trigger."""

N_WORDS = 8
"""Words of 64 bits that hold them."""

Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


def pack_bits(flags: npt.ArrayLike) -> Words:
    """Flags, bool (..., 512) -> words, uint64 (..., 8)."""
    array = np.ascontiguousarray(flags, dtype=np.bool_)
    if array.shape[-1:] != (N_ALGORITHMS,):
        raise BadConfig(f"expected {N_ALGORITHMS} flags in the last axis, got shape {array.shape}")
    packed = np.packbits(array, axis=-1, bitorder="little")
    return packed.view(np.dtype("<u8")).astype(np.uint64, copy=False)


def unpack_bits(words: npt.ArrayLike) -> Flags:
    """Words, uint64 (..., 8) -> flags, bool (..., 512)."""
    array = np.ascontiguousarray(words, dtype=np.dtype("<u8"))
    if array.shape[-1:] != (N_WORDS,):
        raise BadConfig(f"expected {N_WORDS} words in the last axis, got shape {array.shape}")
    return np.unpackbits(array.view(np.uint8), axis=-1, bitorder="little").astype(np.bool_)


def checked_words(words: npt.NDArray[Any], what: str) -> Words:
    """The same array, C-contiguous, after checking it is uint64 (n, 8)."""
    if words.dtype != np.uint64 or words.ndim != 2 or words.shape[1] != N_WORDS:
        raise BadConfig(
            f"{what}: expected uint64 (crossings, {N_WORDS}), got {words.dtype} {words.shape}"
        )
    return np.ascontiguousarray(words)


def checked_mask(mask: npt.NDArray[Any], what: str) -> Words:
    """A private copy of a mask after checking it is uint64 (8,)."""
    if mask.dtype != np.uint64 or mask.shape != (N_WORDS,):
        raise BadConfig(f"{what}: expected uint64 ({N_WORDS},), got {mask.dtype} {mask.shape}")
    return mask.copy()


@inline
def count_bits(word: np.uint64) -> np.int64:
    """Number of set bits; LLVM turns this sum of neighbours into one instruction."""
    pairs = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    fours = (pairs & np.uint64(0x3333333333333333)) + (
        (pairs >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    bytes_ = (fours + (fours >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bytes_ * np.uint64(0x0101010101010101)) >> np.uint64(56))


@inline
def lowest_bit(word: np.uint64) -> np.int64:
    """Position of the lowest set bit of a word that is not 0."""
    return count_bits(~word & (word - np.uint64(1)))
