"""Transport of phase-2 packets, for tests and fuzzing."""

from __future__ import annotations


def framed(orbit: bytes) -> bytes:
    """One orbit in DTHBasic256 blocks of at most 255 words of 32 bytes."""
    orbit += bytes(-len(orbit) % 32)
    pieces = [orbit[at : at + 255 * 32] for at in range(0, len(orbit), 255 * 32)]
    out = b""
    for index, piece in enumerate(pieces):
        flags = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
        head = b"GZ" + index.to_bytes(3, "little") + bytes([flags, len(piece) // 32]) + bytes(9)
        out += head + orbit[:8] + bytes(8) + piece
    return out
