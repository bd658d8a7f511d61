"""Source text of the kernels and documentation that a Word declaration stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scout40.streams.layout import Bits, Word


TILE = 1024
"""Words unpacked at a time: the tile and its outputs stay in the first-level cache."""


def unpack_source(word: type[Word]) -> str:
    """``unpack(rows, *out)``: storage words apart in tiles, then one vectorised loop a field."""
    storage = word.storage.name
    lines = ["import numpy as np", "", "", f"def unpack(rows, {', '.join(word.fields)}):"]
    used = sorted({bits.word for bits in word.fields.values()})
    lines += [f"    tile{index} = np.empty({TILE}, np.{storage})" for index in used]
    lines.append(f"    for first in range(0, rows.shape[0], {TILE}):")
    lines.append(f"        part = rows[first : first + {TILE}]")
    lines.append("        n = part.shape[0]")
    lines.append("        for i in range(n):")
    lines += [f"            tile{index}[i] = part[i, {index}]" for index in used]
    for name, bits in word.fields.items():
        lines.append(f"        out = {name}[first : first + n]")
        lines.append("        for i in range(n):")
        lines.append(f"            out[i] = np.{bits.dtype.name}({_getter(bits, word)})")
    return "\n".join(lines) + "\n"


def _getter(bits: Bits, word: type[Word]) -> str:
    """The value of one field; arithmetic as narrow as the word, so that it vectorises."""
    narrow = word.storage.itemsize < 8
    kind = "uint32" if narrow else "uint64"
    raw = f"((np.{kind}(tile{bits.word}[i]) >> np.{kind}({bits.lo})) & np.{kind}({bits.mask}))"
    if not bits.signed:
        return raw
    signed = "int32" if narrow and bits.width < 32 else "int64"
    if bits.signed_above is None:
        half = 1 << (bits.width - 1)
        return f"np.{signed}({raw} ^ np.{kind}({half})) - np.{signed}({half})"
    # Codes are turned round so that the lowest value becomes 0, then moved down.
    turn = bits.mask - bits.limit
    turned = f"({raw} + np.{kind}({turn})) & np.{kind}({bits.mask})"
    return f"np.{signed}({turned}) - np.{signed}({turn})"


def pack_source(word: type[Word]) -> str:
    """``pack(out, *columns) -> bool``: True when some value did not fit its bits."""
    lines = [f"def pack(out, {', '.join(word.fields)}):"]
    lines += ["    bad = False", "    for i in range(out.shape[0]):"]
    for index in range(word.words):
        terms = [
            f"((np.int64({name}[i]) & {bits.mask}) << {bits.lo})"
            for name, bits in word.fields.items()
            if bits.word == index
        ]
        lines.append(f"        out[i, {index}] = {' | '.join(terms) or 'np.int64(0)'}")
    for name, bits in word.fields.items():
        lines.append(f"        bad |= ({name}[i] < {bits.minimum}) | ({name}[i] > {bits.limit})")
    lines.append("    return bad")
    return "\n".join(lines) + "\n"


def word_markdown(word: type[Word]) -> str:
    """Heading, docstring, one row of bit boxes per storage word, table of fields."""
    doc = (word.__doc__ or "").strip()
    lines = [f"## {word.__name__}", "", doc, ""]
    width = 8 * word.storage.itemsize
    for index in range(word.words):
        lines += [_bit_boxes(word, index, width), ""]
    lines += [
        "| field | word | bits | kind | lsb | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, bits in word.fields.items():
        kind = f"{'s' if bits.signed else 'u'}{bits.width}"
        lsb = f"{bits.scale.lsb:.6g} {bits.scale.unit}".strip() if bits.scale else ""
        place = f"{bits.lo + bits.width - 1}–{bits.lo}" if bits.width > 1 else f"{bits.lo}"
        lines.append(f"| `{name}` | {bits.word} | {place} | {kind} | {lsb} | {bits.doc} |")
    return "\n".join(lines) + "\n"


def _bit_boxes(word: type[Word], index: int, width: int) -> str:
    """An HTML table row whose cells span as many columns as the field has bits, high bit first."""
    cells = []
    position = width
    members = [(n, b) for n, b in word.fields.items() if b.word == index]
    for name, bits in sorted(members, key=lambda item: -item[1].lo):
        top = bits.lo + bits.width
        if position > top:
            cells.append((position - top, ""))
        cells.append((bits.width, f"{name}<br><small>{top - 1}:{bits.lo}</small>"))
        position = bits.lo
    if position:
        cells.append((position, ""))
    inner = "".join(f'<td colspan="{span}">{text}</td>' for span, text in cells)
    return f'<table class="bits"><tr><th>word {index}</th>{inner}</tr></table>'
