"""Declared records as JSON: dataclasses whose annotations carry the bounds of each field.

A type is a bool, text, int or float (with :class:`Within`), a tuple of one type, a Mapping from
text, a dataclass or a TypedDict. What is read has exactly the declared fields within their
bounds; sizes are checked before anything is converted.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

from scout40.streams.errors import BadInput

T = TypeVar("T")

MAX_TEXT = 300
"""Characters of a text; longer ones are cut when a snapshot is written."""
MAX_ENTRIES = 4096
"""Entries of a list or table: a histogram over the 3564 crossings of an orbit fits."""


@dataclass(frozen=True)
class Within:
    """Bounds of a number, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class OneOf:
    """The words that a text may be."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class AtMost:
    """Entries of a list."""

    entries: int


def dump(record: object, most: int) -> bytes:
    """``record`` as UTF-8 JSON of at most ``most`` bytes; texts beyond MAX_TEXT are cut.

    Raises BadInput naming the first field that :func:`load` would refuse.
    """
    plain = _plain(record)
    _checked(type(record), plain)
    data = json.dumps(plain, allow_nan=False, separators=(",", ":")).encode()
    if len(data) > most:
        raise BadInput(f"{len(data)} bytes of JSON, at most {most} are allowed")
    return data


def load(kind: type[T], data: bytes, most: int, where: str | None = None) -> T:
    """The record in ``data``; BadInput names ``where`` and the field that is wrong.

    A record with a field ``version`` is refused for its version before its other fields.
    """
    if len(data) > most:
        raise BadInput(f"{len(data)} bytes of JSON, at most {most} are allowed", file=where)
    try:
        value = json.loads(data, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON: {str(error)[:MAX_TEXT]}", file=where) from None
    return _checked(kind, value, where)


def _checked(kind: type[T], value: Any, where: str | None = None) -> T:
    try:
        return cast(T, _reader(cast(Hashable, kind))(value, ""))
    except _Wrong as wrong:
        raise BadInput(wrong.text, file=where, field=wrong.field or None) from None
    except BadInput as error:
        raise BadInput(str(error), file=where) from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, tuples as lists, texts cut and without lone surrogates."""
    if isinstance(value, str):
        cut = value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + "…"
        return cut.encode("utf-8", "replace").decode()
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {_plain(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        if value and type(value[0]) in (int, float):
            return list(value)
        return [_plain(inner) for inner in value]
    return value


class _Wrong(Exception):
    def __init__(self, field: str, text: str) -> None:
        super().__init__(field, text)
        self.field, self.text = field, text


Reader = Callable[[Any, str], Any]
"""(value of JSON, name of its field) -> the declared value, or _Wrong."""


@functools.cache
def _reader(kind: Hashable) -> Reader:
    """How to read one declared type; made once, since snapshots come by the second."""
    rule: object = None
    if typing.get_origin(kind) is Annotated:
        kind, rule = typing.get_args(kind)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is int or kind is float:
        numbers = _numbers_reader(kind, rule)
        return lambda value, field: numbers([value], field)[0]
    if kind is str:
        return functools.partial(_text, rule.words if isinstance(rule, OneOf) else ())
    if kind is bool:
        return _bool
    if origin is tuple:
        return _list_reader(inner[0], rule.entries if isinstance(rule, AtMost) else MAX_ENTRIES)
    if origin is Mapping:
        return functools.partial(_table, _reader(inner[1]))
    return _record_reader(kind)


def _numbers_reader(kind: Hashable, rule: object) -> Callable[[list[Any], str], Sequence[Any]]:
    """Reader of many numbers of one type and rule: histograms are long."""
    low, high = (rule.low, rule.high) if isinstance(rule, Within) else (-math.inf, math.inf)

    def integers(values: list[Any], field: str) -> Sequence[Any]:
        if not set(map(type, values)) <= {int}:
            raise _Wrong(field, "not an integer")
        bounds(values, field)
        return values

    def floats(values: list[Any], field: str) -> Sequence[Any]:
        if not set(map(type, values)) <= {int, float}:
            raise _Wrong(field, "not a number")
        bounds(values, field)
        try:
            found = list(map(float, values))
        except OverflowError:
            raise _Wrong(field, "an integer beyond the range of float") from None
        if not all(map(math.isfinite, found)):
            raise _Wrong(field, "not a finite number")
        return found

    def bounds(values: list[Any], field: str) -> None:
        least, most = min(values), max(values)
        if not (low <= least and most <= high):
            wrong = least if not low <= least else most
            bound = f"{low:g}" if low == high else f"a number from {low:g} to {high:g}"
            raise _Wrong(field, f"{_short(wrong)} instead of {bound}")

    return integers if kind is int else floats


def _text(words: tuple[str, ...], value: Any, field: str) -> str:
    if type(value) is not str:
        raise _Wrong(field, f"{_short(value)} instead of a text")
    if len(value) > MAX_TEXT:
        raise _Wrong(field, f"a text of {len(value)} characters, at most {MAX_TEXT}")
    if words and value not in words:
        raise _Wrong(field, f"{_short(value)} is none of {', '.join(words)}")
    return value


def _bool(value: Any, field: str) -> bool:
    if type(value) is not bool:
        raise _Wrong(field, f"{_short(value)} instead of true or false")
    return value


def _list_reader(kind: Hashable, most: int) -> Reader:
    base = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    many = _numbers_reader(base, typing.get_args(kind)[1]) if base in (int, float) else None
    one = _reader(kind)

    def read(value: Any, field: str) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _Wrong(field, f"{_short(value)} instead of a list")
        if len(value) > most:
            raise _Wrong(field, f"a list of {len(value)} entries, at most {most}")
        if many is not None:
            return tuple(many(value, field)) if value else ()
        return tuple(one(inner, f"{field}[{k}]") for k, inner in enumerate(value))

    return read


def _table(one: Reader, value: Any, field: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise _Wrong(field, f"{_short(value)} instead of an object")
    if len(value) > MAX_ENTRIES:
        raise _Wrong(field, f"{len(value)} entries, at most {MAX_ENTRIES}")
    for name in value:
        if len(name) > MAX_TEXT:
            raise _Wrong(field, f"a name of {len(name)} characters, at most {MAX_TEXT}")
    return {name: one(inner, f"{field}.{_short(name)}") for name, inner in value.items()}


def _record_reader(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind, include_extras=True)
    readers = {name: _reader(hint) for name, hint in hints.items()}

    def read(value: Any, field: str) -> Any:
        if type(value) is not dict:
            raise _Wrong(field, f"{_short(value)} instead of an object")
        dot = f"{field}." if field else ""
        if "version" in readers and "version" in value:
            # Before anything else: another version may well have other fields.
            readers["version"](value["version"], dot + "version")
        for name in value:
            if name not in readers:
                raise _Wrong(field, f"unknown field {_short(name)}")
        for name in readers:
            if name not in value:
                raise _Wrong(dot + name, "is missing")
        return kind(**{name: one(value[name], dot + name) for name, one in readers.items()})

    return read


def _short(value: object) -> str:
    """What an error says of a value: numbers and short texts themselves, else the type."""
    if type(value) is str:
        text = ascii(value)
    elif type(value) in (int, float):
        try:
            text = repr(value)
        except ValueError:  # Python refuses to print very long integers
            text = "an integer of thousands of digits"
    else:
        text = "nothing" if value is None else type(value).__name__
    return text if len(text) <= 40 else text[:39] + "…"
