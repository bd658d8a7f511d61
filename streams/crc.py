"""CRC-32C (Castagnoli), the checksum of FRD events."""

from __future__ import annotations

import crc32c as _crc32c


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """Checksum of ``data``; hardware instructions where the processor has them."""
    return int(_crc32c.crc32c(data))
