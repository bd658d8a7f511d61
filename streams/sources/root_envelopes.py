"""Checksums of the metadata of an RNTuple, looked at before uproot parses it.

Header, footer and page lists are envelopes that end in the XXH3 checksum of what is before it
(RNTuple binary format specification 1.0). Uproot compares it after parsing, when a damaged count
of items may already have kept it busy for ever.
"""

from __future__ import annotations

from typing import Any

from scout40.streams.errors import BadInput

CHECKSUM = 8
MAX_BYTES = 1 << 30
"""No metadata are larger than this; more is a damaged length."""


def check_envelopes(tree: Any, file: str, size: int) -> None:
    """Check header, footer and page lists of an RNTuple as uproot opened it.

    size: bytes of the file, 0 when not known. Raises BadInput naming the envelope.
    """
    for name in ("Header", "Footer"):
        place, stored = tree.member(f"fSeek{name}"), tree.member(f"fNBytes{name}")
        _check(tree, name.lower(), (place, stored, tree.member(f"fLen{name}")), file, size)
    for record in tree.footer.cluster_group_records:
        link = record.page_list_link
        where = (link.locator.offset, link.locator.num_bytes, link.env_uncomp_size)
        _check(tree, "page list", where, file, size)


def _check(tree: Any, name: str, where: tuple[int, int, int], file: str, size: int) -> None:
    import uproot
    import xxhash

    place, stored, length = where
    fits = place >= 0 and CHECKSUM < stored <= MAX_BYTES and CHECKSUM < length <= MAX_BYTES
    if not fits or (size and place + stored > size):
        raise BadInput(
            f"{name} of the RNTuple claims {stored} bytes, {length} unpacked",
            file=file, offset=place,
        )  # fmt: skip
    chunk = tree.file.source.chunk(place, place + stored)
    if stored < length:
        cursor = uproot.source.cursor.Cursor(place)
        chunk = uproot.compression.decompress(chunk, cursor, {}, stored, length)
    data = bytes(chunk.raw_data)
    found = int.from_bytes(data[-CHECKSUM:], "little")
    if found != xxhash.xxh3_64_intdigest(data[:-CHECKSUM]):
        raise BadInput(f"checksum of the RNTuple's {name} is wrong", file=file, offset=place)
