"""Declared words: kernels, schema, documentation and errors, for every word there is."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams import formats
from scout40.streams.errors import BadInput
from scout40.streams.layout import Bits, Word, linear


def declared() -> list[type[Word]]:
    """Every word with fields in scout40.streams.formats."""
    found: dict[type[Word], None] = {}
    for entry in pkgutil.iter_modules(formats.__path__):
        module = importlib.import_module(f"{formats.__name__}.{entry.name}")
        for thing in vars(module).values():
            if isinstance(thing, type) and issubclass(thing, Word) and thing.fields:
                found[thing] = None
    return list(found)


WORDS = declared()
every_word = pytest.mark.parametrize("word", WORDS, ids=lambda word: word.__name__)


def columns_of(word: type[Word], rows: list[dict[str, int]]) -> dict[str, Any]:
    return {
        name: np.array([row[name] for row in rows], bits.dtype)
        for name, bits in word.fields.items()
    }


class Example(Word, words=2):
    """Signs, a widened sign and a scale."""

    low = Bits(0, 5, "unsigned", word=0)
    plain = Bits(5, 9, "two's complement", word=0, signed=True)
    odd = Bits(3, 9, "negative above 256 only", word=1, signed=True, signed_above=256)
    hw_top = Bits(31, 1, "highest bit", word=1, scale=linear("GeV", 0.5, offset=-1))


def test_there_are_words_of_every_format() -> None:
    names = {word.__name__ for word in WORDS}
    assert {
        "GmtMuon", "CaloJet", "CaloSums", "BmtfStub", "CaloTower", "UgtMuon", "FrdEvent6",
    } <= names  # fmt: skip


@every_word
@given(data=st.data())
def test_unpack_undoes_pack(word: type[Word], data: st.DataObject) -> None:
    rows = data.draw(st.lists(word.strategy(), min_size=1, max_size=4))
    columns = columns_of(word, rows)
    unpacked = word.unpack(word.pack(columns))
    assert list(unpacked) == list(word.fields)
    for name, values in columns.items():
        assert unpacked[name].dtype == word.fields[name].dtype
        np.testing.assert_array_equal(unpacked[name], values)


@every_word
def test_pack_undoes_unpack_on_declared_bits(word: type[Word]) -> None:
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 256, (2500, word.words * word.storage.itemsize), np.uint8)
    words = raw.view(word.storage)
    known = [0] * word.words
    for bits in word.fields.values():
        known[bits.word] |= bits.mask << bits.lo
    np.testing.assert_array_equal(
        word.pack(word.unpack(words)), words & np.array(known, word.storage)
    )


@every_word
def test_compiled_kernels_equal_the_interpreted_ones(word: type[Word]) -> None:
    rng = np.random.default_rng(4)
    words = rng.integers(0, 256, (30, word.words * word.storage.itemsize), np.uint8)
    rows = words.view(word.storage)
    unpack, pack = word.kernels()
    columns = word.unpack(rows)
    plain = {name: np.empty(30, bits.dtype) for name, bits in word.fields.items()}
    unpack.py_func(rows, *plain.values())  # type: ignore[attr-defined]
    for name in columns:
        np.testing.assert_array_equal(plain[name], columns[name], err_msg=name)
    packed = np.empty_like(rows)
    assert not pack.py_func(packed, *columns.values())  # type: ignore[attr-defined]
    np.testing.assert_array_equal(packed, word.pack(columns))


@every_word
def test_values_at_the_limits_pass_and_beyond_them_do_not(word: type[Word]) -> None:
    edges = {n: np.array([bits.minimum, bits.limit]) for n, bits in word.fields.items()}
    for name, values in word.unpack(word.pack(edges)).items():
        assert values.tolist() == edges[name].tolist()
    for name, bits in word.fields.items():
        for value in (bits.minimum - 1, bits.limit + 1):
            with pytest.raises(BadInput, match=f"{name}: .*row 1 has {value}"):
                word.pack({name: np.array([bits.limit, value])})
            kept = np.iinfo(bits.dtype)
            if kept.min <= value <= kept.max:  # found by the kernel, not before it
                with pytest.raises(BadInput, match=f"{name}: .*row 1 has {value}"):
                    word.pack({name: np.array([bits.limit, value], bits.dtype)})


@every_word
def test_schema_says_what_each_column_is(word: type[Word]) -> None:
    schema = word.schema(physical=True)
    scaled = [bits for bits in word.fields.values() if bits.scale is not None]
    assert schema.names == list(word.fields) + [bits.physical_name for bits in scaled]
    for name, bits in word.fields.items():
        facts = schema.field(name).metadata
        assert facts[b"bits"].decode() == str(bits.width)
        assert facts[b"description"].decode() == bits.doc
        assert (b"lsb" in facts) == (bits.scale is not None)


@every_word
def test_documentation_has_every_field_and_every_bit(word: type[Word]) -> None:
    text = word.markdown()
    assert (word.__doc__ or "").strip() in text
    for name in word.fields:
        assert f"`{name}`" in text
    spans = [int(part.split('"')[0]) for part in text.split('colspan="')[1:]]
    assert sum(spans) == 8 * word.storage.itemsize * word.words


def test_signs_by_hand() -> None:
    words = np.array([[0b1_1111_1111 << 5 | 3, 1 << 31 | 256 << 3], [0xFF << 5, 257 << 3]], "<u4")
    columns = Example.unpack(words)
    assert columns["low"].tolist() == [3, 0]
    assert columns["plain"].tolist() == [-1, 255]
    assert columns["odd"].tolist() == [256, -255]
    assert columns["hw_top"].tolist() == [1, 0]
    assert Example.physical(columns)["top"].tolist() == [0.0, -0.5]


def test_a_subclass_keeps_bits_at_their_place_in_the_stream() -> None:
    class Wide(Word, dtype="u8"):
        low = Bits(0, 10, "first half")
        high = Bits(40, 7, "second half", signed=True)

    class Cut(Wide, dtype="u4", words=3):
        more = Bits(31, 1, "in the new word", word=2)

    wide = np.array([0x0123_4567_89AB_CDEF], "<u8")
    cut = np.array([[*wide.view("<u4"), 1 << 31]], "<u4")
    expected, found = Wide.unpack(wide), Cut.unpack(cut)
    assert found == expected | {"more": np.array([1], np.uint8)}


def test_wrong_declarations_are_refused() -> None:
    with pytest.raises(TypeError, match="overlaps"):
        type("Bad", (Word,), {"a": Bits(0, 4, ""), "b": Bits(3, 2, "")})
    with pytest.raises(TypeError, match="outside"):
        type("Bad", (Word,), {"a": Bits(30, 4, "")})
    with pytest.raises(TypeError, match="outside"):
        type("Bad", (Word,), {"a": Bits(0, 4, "", word=1)})


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(BadInput, match="expected uint32"):
        Example.unpack(np.zeros((3, 2), np.uint64))
    with pytest.raises(BadInput, match="expected \\(n, 2\\)"):
        Example.unpack(np.zeros((3, 3), np.uint32))
    with pytest.raises(BadInput, match="unequal length"):
        Example.pack({"low": np.zeros(2, np.int64), "plain": np.zeros(3, np.int64)})


def test_no_rows() -> None:
    assert Example.unpack(np.zeros((0, 2), np.uint32))["low"].shape == (0,)
    assert Example.pack({"low": np.zeros(0, np.uint8)}).shape == (0, 2)
