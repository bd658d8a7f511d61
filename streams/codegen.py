"""Source text of the kernels and documentation that a Word declaration stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scout40.streams.layout import Bits, Word


def unpack_source(word: type[Word]) -> str:
    """``unpack(rows, *out)``: one pass, every word loaded once."""
    lines = ["import numpy as np", "", "", f"def unpack(rows, {', '.join(word.fields)}):"]
    lines.append("    for i in range(rows.shape[0]):")
    for index in sorted({bits.word for bits in word.fields.values()}):
        lines.append(f"        w{index} = np.int64(rows[i, {index}])")
    for name, bits in word.fields.items():
        lines.append(f"        {name}[i] = {_getter(bits)}")
    return "\n".join(lines) + "\n"


def _getter(bits: Bits) -> str:
    raw = f"((w{bits.word} >> {bits.lo}) & {bits.mask})"
    if not bits.signed:
        return raw
    if bits.signed_above is None:
        half = 1 << (bits.width - 1)
        return f"({raw} ^ {half}) - {half}"
    return f"{raw} - ({1 << bits.width} if {raw} > {bits.limit} else 0)"


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
    lines += ["| field | word | bits | kind | lsb | meaning |", "| --- | --- | --- | --- | --- | --- |"]
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
