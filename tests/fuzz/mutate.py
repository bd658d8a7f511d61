"""Mutations of good inputs: what damage on the way and careless editing look like, and worse.

Everything follows from one NumPy generator, so a seed gives the same inputs every time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np

T = TypeVar("T")

HEAD = 256
TAIL = 640
"""Bytes at either end, where headers and footers are: they get half of all changes."""

EDGES = (0, 1, 2, 3, 4, 5, 8, 16, 32, 64, 255, 511, 512, 513, 3563, 3564, 3565, 4096, 1 << 20)
"""Sizes, counts and bunch crossings at which something changes, beside powers of two."""

TELLING = (
    *(b"", b"0", b"1", b"-1", b"+1", b"0.0", b"-0.0", b"007", b"1.005", b"3565", b"1e999"),
    *(b"1e-9", b"nan", b"inf", b"-inf", b"0x1F", b"0b1", b"1_000", b"9" * 30, b"9" * 5000),
    b"0x" + b"F" * 4000,
    *(b"true", b"null", b"None", b"{}", b"[]", b"''", b'""', b'"', b"'", b'"""', b"\\", b"\\u0000"),
    *(b"1979-05-27T07:32:00Z", b"07:32:00", b"NOT", b"AND", b"OR", b"XOR", b"ALL", b"L1_A", b"*"),
    *(b"<", b">", b"</a>", b"<a>" * 40, b"&lt;", b"&#0;", b"<!DOCTYPE a>", b"]]>", b"<!--", b"-->"),
    *(b"[", b"]", b"[[", b"(", b")", b"{", b"}", b"[" * 3000, b"(" * 3000, b'{"a":' * 3000),
    *(b"\n", b"\r", b"\t", b" ", b"\0", b"#", b",", b";", b"=", b":", b".", b"a." * 90, b"-", b"_"),
    *(text.encode() for text in ("²", "\u0663", "é", "\u202e", "\x1b[2J")),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"A" * 300, b"A" * 70_000),
)  # fmt: skip
"""Tokens that text formats are known to stumble over."""

_TOKEN = re.compile(rb"[A-Za-z0-9_.+-]+|[^\sA-Za-z0-9_.+-]")
_NUMBER = re.compile(rb"\d+")


class Dice:
    """Seeded random integers, drawn in bulk because NumPy is slow at single ones."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._drawn: list[int] = []

    def below(self, limit: int) -> int:
        """0..limit - 1, and 0 for a limit below 2."""
        if not self._drawn:
            self._drawn = self._generator.integers(0, 1 << 62, 4096).tolist()
        return self._drawn.pop() % max(1, limit)

    def pick(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def place(self, data: bytearray) -> int:
        """An offset into ``data``, its length included; half of them near an end."""
        size = len(data)
        side = self.below(4)
        if side == 0:
            return self.below(min(size, HEAD) + 1)
        return size - self.below(min(size, TAIL) + 1) if side == 1 else self.below(size + 1)

    def length(self) -> int:
        """1..4096, short ones as frequent as long ones."""
        return 1 + self.below(1 << (1 + self.below(12)))


Change = Callable[[bytearray, Dice, Sequence[bytes]], None]
"""Changes its first argument; the last one holds all seeds."""


def mutated(data: bytes, dice: Dice, seeds: Sequence[bytes], text: bool) -> bytes:
    """One to four changes to ``data``, more often few; two thirds of those of text hit tokens."""
    out = bytearray(data)
    for _ in range(1 + dice.below(1 + dice.below(4))):
        changes = TEXT if text and dice.below(3) else BINARY
        dice.pick(changes)(out, dice, seeds)
    return bytes(out)


def flip_bit(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    at = dice.place(out)
    if at < len(out):
        out[at] ^= 1 << dice.below(8)


def set_byte(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    at = dice.place(out)
    out[at : at + 1] = bytes([dice.below(256)])


def set_integer(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    """An edge-case integer of 1, 2, 4 or 8 bytes, mostly aligned, mostly little-endian."""
    width = 1 << dice.below(4)
    at = dice.place(out)
    if dice.below(4):
        at -= at % width
    order: Literal["little", "big"] = "little" if dice.below(3) else "big"
    half = 1 << (8 * width - 1)
    now = int.from_bytes(out[at : at + width], order)
    kind = dice.below(4)
    if kind == 0:
        value = now + dice.pick((-2, -1, 1, 2))
    elif kind == 1:
        value = dice.pick((-1, half - 1, half, len(out), at, dice.below(1 << 24)))
    else:
        value = dice.pick(EDGES)
    part = (value % (2 * half)).to_bytes(width, order)
    out[at : at + width] = part[: max(0, len(out) - at)]


def cut(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    at = dice.place(out)
    del out[at : at + dice.length()]


def cut_words(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    """What binary formats survive more often: whole words are missing."""
    at = dice.place(out) & ~7
    del out[at : at + 8 * (1 + dice.below(32))]


def truncate(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    if dice.below(2) == 0:  # little is left to find in what remains
        del out[dice.place(out) :]


def repeat(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    at = dice.place(out)
    if dice.below(2):
        at &= ~7
    out[at:at] = out[at : at + dice.length()]


def copy_within(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    at, source, length = dice.place(out), dice.place(out), dice.length()
    out[at : at + length] = out[source : source + length]


def splice(out: bytearray, dice: Dice, seeds: Sequence[bytes]) -> None:
    """A part of another seed inside, or its end instead of this one's."""
    other = bytearray(dice.pick(seeds))
    at, source = dice.place(out), dice.place(other)
    if dice.below(2):
        out[at:] = other[source:]
    else:
        out[at:at] = other[source : source + dice.length()]


def _token(out: bytearray, dice: Dice) -> tuple[int, int]:
    """Start and end of a token, both the length when none follows."""
    match = _TOKEN.search(out, dice.below(len(out) + 1))
    span = match.span() if match else (len(out), len(out))
    del match  # it would keep the bytearray from being resized
    return span


def put_token(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    start, end = _token(out, dice)
    out[start : end if dice.below(3) else start] = dice.pick(TELLING)


def swap_tokens(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    (a, b), (c, d) = sorted((_token(out, dice), _token(out, dice)))
    if b <= c:
        first, second = out[a:b], out[c:d]
        out[c:d] = first
        out[a:b] = second


def copy_token(out: bytearray, dice: Dice, seeds: Sequence[bytes]) -> None:
    """A token of any seed in the place of one of this."""
    other = bytearray(dice.pick(seeds))
    (start, end), (first, last) = _token(out, dice), _token(other, dice)
    out[start:end] = other[first:last]


def drop_token(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    start, end = _token(out, dice)
    del out[start:end]


def change_number(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    match = _NUMBER.search(out, dice.below(len(out) + 1))
    if match is None:
        return
    (start, end), digits = match.span(), bytes(match[0])
    del match
    now = int(digits[:18])
    value = dice.pick((now + 1, now - 1, -now, 2 * now, 10 * now, *EDGES))
    out[start:end] = str(value).encode()


def repeat_line(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    start, end = _line(out, dice)
    out[start:start] = out[start:end]


def drop_line(out: bytearray, dice: Dice, _: Sequence[bytes]) -> None:
    start, end = _line(out, dice)
    del out[start:end]


def _line(out: bytearray, dice: Dice) -> tuple[int, int]:
    at = dice.below(len(out) + 1)
    return out.rfind(b"\n", 0, at) + 1, (out.find(b"\n", at) + 1 or len(out))


BINARY: tuple[Change, ...] = (
    *(flip_bit, set_byte, set_integer, set_integer, cut, cut_words),
    *(truncate, repeat, copy_within, splice),
)
TEXT: tuple[Change, ...] = (
    *(put_token, swap_tokens, copy_token, drop_token, change_number, change_number),
    *(repeat_line, drop_line),
)
