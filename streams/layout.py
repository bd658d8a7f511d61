"""Hardware words declared once.

A word is a class whose attributes are bit fields::

    class Jet(Word, dtype="u4", words=1):
        \"\"\"One jet of calorimeter layer 2.\"\"\"

        hw_et = Bits(0, 11, "transverse energy", scale=CALO_ET)
        hw_eta = Bits(11, 8, "pseudorapidity", signed=True, scale=CALO_ETA)

From that one declaration come the unpack and pack kernels (numba), the NumPy dtype, the Arrow
schema with unit, lsb, bits and description, the table in the documentation and the Hypothesis
strategy of the tests.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from scout40.streams.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa
    from hypothesis.strategies import SearchStrategy

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]


@dataclass(frozen=True)
class Scale:
    """How a hardware integer becomes a physical float32.

    name:
        column name of the physical value (``pt`` beside ``hw_pt``).
    convert:
        int64 codes -> float32 values, in the order of operations of the reference code.
    """

    unit: str
    lsb: float
    convert: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Bits:
    """Bits ``lo .. lo + width - 1`` of one storage word (``word``) of a Word.

    signed:
        two's complement. ``signed_above`` overrides where negative codes begin: a raw value
        strictly above it means raw - 2**width (some unpackers test one code too far).
    """

    lo: int
    width: int
    doc: str
    word: int = 0
    signed: bool = False
    signed_above: int | None = None
    scale: Scale | None = None
    name: str = field(default="", compare=False)

    @property
    def limit(self) -> int:
        """The largest value that a code can mean."""
        if not self.signed:
            return (1 << self.width) - 1
        if self.signed_above is not None:
            return self.signed_above
        return (1 << (self.width - 1)) - 1

    @property
    def minimum(self) -> int:
        return self.limit + 1 - (1 << self.width) if self.signed else 0

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1

    @functools.cached_property
    def dtype(self) -> np.dtype[Any]:
        """The smallest NumPy integer that holds every value."""
        kinds = ("i1", "i2", "i4", "i8") if self.signed else ("u1", "u2", "u4", "u8")
        for kind in kinds:
            info = np.iinfo(kind)
            if info.min <= self.minimum and self.limit <= info.max:
                return np.dtype(kind)
        raise ValueError(f"field {self.name} is too wide")

    @property
    def physical_name(self) -> str:
        return self.name.removeprefix("hw_")

    @functools.cached_property
    def table(self) -> npt.NDArray[np.float32]:
        """float32 value of every raw code, index = code & mask."""
        if self.scale is None:
            raise ValueError(f"field {self.name} has no physical scale")
        codes = np.arange(1 << self.width, dtype=np.int64)
        values = np.where(codes > self.limit, codes - (1 << self.width), codes)
        return np.asarray(self.scale.convert(values), dtype=np.float32)

    def rescaled(self, scale: Scale) -> Bits:
        """The same bits with another physical scale."""
        return dataclasses.replace(self, scale=scale)

    def moved(self, old: int, new: int) -> Bits:
        """The same bits of a little-endian word cut into storage words of another width."""
        first = self.word * old + self.lo
        return dataclasses.replace(self, word=first // new, lo=first % new)

    def metadata(self) -> dict[str, str]:
        """Arrow field metadata of the hardware column."""
        where = f"word {self.word} bits {self.lo + self.width - 1}..{self.lo}"
        facts = {"description": self.doc, "bits": str(self.width), "position": where}
        if self.scale is not None:
            facts |= {"lsb": repr(self.scale.lsb), "lsb_unit": self.scale.unit}
        return facts


class Word:
    """Base of all declared words; see the module docstring.

    A subclass of a declared word keeps its fields and may add some or declare one anew. When it
    states ``dtype`` the bits keep their places in the little-endian stream of words.
    """

    fields: ClassVar[dict[str, Bits]] = {}
    storage: ClassVar[np.dtype[Any]] = np.dtype("<u4")
    words: ClassVar[int] = 1

    def __init_subclass__(
        cls, dtype: Literal["u2", "u4", "u8"] | None = None, words: int | None = None
    ) -> None:
        old = 8 * cls.storage.itemsize
        cls.storage = np.dtype("<" + dtype) if dtype else cls.storage
        cls.words = words or cls.words
        new = 8 * cls.storage.itemsize
        declared = {n: bits.moved(old, new) for n, bits in cls.fields.items()}
        declared |= {n: bits for n, bits in vars(cls).items() if isinstance(bits, Bits)}
        cls.fields = {}
        used = [0] * cls.words
        for name, bits in declared.items():
            bits = dataclasses.replace(bits, name=name)
            place = bits.mask << bits.lo
            if bits.word >= cls.words or bits.lo + bits.width > new:
                raise TypeError(f"{cls.__name__}.{name} lies outside the word")
            if used[bits.word] & place:
                raise TypeError(f"{cls.__name__}.{name} overlaps another field")
            used[bits.word] |= place
            setattr(cls, name, bits)
            cls.fields[name] = bits

    # -- NumPy and Arrow ---------------------------------------------------------------------

    @classmethod
    def dtype(cls) -> np.dtype[Any]:
        """Structured dtype of the unpacked hardware integers."""
        return np.dtype([(name, bits.dtype) for name, bits in cls.fields.items()])

    @classmethod
    def schema(cls, physical: bool = False) -> pa.Schema:
        """Arrow schema of the hardware columns, and of the physical ones after them."""
        import pyarrow as pa

        columns = [
            pa.field(
                name, pa.from_numpy_dtype(bits.dtype), nullable=False, metadata=bits.metadata()
            )
            for name, bits in cls.fields.items()
        ]
        for bits in cls.fields.values() if physical else ():
            if bits.scale is not None:
                facts = {"unit": bits.scale.unit, "description": bits.doc}
                columns.append(pa.field(bits.physical_name, pa.float32(), False, facts))
        return pa.schema(columns)

    # -- kernels -----------------------------------------------------------------------------

    @classmethod
    def unpack(cls, words: Array) -> dict[str, Array]:
        """Hardware columns of packed words.

        words:
            shape (n,) or (n, ``cls.words``), dtype ``cls.storage``; any byte-contiguous rows.
        """
        rows = cls.rows(words)
        out = {name: np.empty(len(rows), bits.dtype) for name, bits in cls.fields.items()}
        cls.kernels()[0](rows, *out.values())
        return out

    @classmethod
    def pack(cls, columns: Columns, out: Array | None = None) -> Array:
        """Packed words, shape (n, ``cls.words``), of hardware columns; into ``out`` when given.

        Absent columns count as 0. Raises BadInput naming field, row and value when a value does
        not fit its bits.
        """
        lengths = {len(columns[name]) for name in cls.fields if name in columns}
        if len(lengths) != 1:
            raise BadInput(f"{cls.__name__}: columns of unequal length or none: {sorted(lengths)}")
        length = lengths.pop()
        # Every column gets the dtype of its field, so that one compiled kernel serves all.
        values = [
            cls._column(columns[name], bits) if name in columns else np.zeros(length, bits.dtype)
            for name, bits in cls.fields.items()
        ]
        if out is None:
            out = np.empty((length, cls.words), cls.storage)
        if cls.kernels()[1](out, *values):
            for column, bits in zip(values, cls.fields.values(), strict=True):
                cls._check_range(column, bits)
        return out

    @classmethod
    def physical(cls, columns: Columns, names: Iterable[str] | None = None) -> dict[str, Array]:
        """float32 columns of all fields that have a scale (or of the hardware ``names``)."""
        chosen = [cls.fields[n] for n in names] if names is not None else cls.fields.values()
        return {
            bits.physical_name: bits.table[columns[bits.name].astype(np.int64) & bits.mask]
            for bits in chosen
            if bits.scale is not None and bits.name in columns
        }

    @classmethod
    def rows(cls, words: Array) -> Array:
        """View of ``words`` as (n, ``cls.words``)."""
        if words.dtype != cls.storage:
            raise BadInput(f"{cls.__name__}: words are {words.dtype}, expected {cls.storage}")
        rows = words.reshape(-1, cls.words) if words.ndim == 1 else words
        if rows.ndim != 2 or rows.shape[1] != cls.words:
            raise BadInput(f"{cls.__name__}: shape {words.shape}, expected (n, {cls.words})")
        return np.ascontiguousarray(rows)

    @classmethod
    def _column(cls, values: Array, bits: Bits) -> Array:
        if values.dtype == bits.dtype:
            return np.ascontiguousarray(values)
        cls._check_range(values, bits)
        return np.ascontiguousarray(values, bits.dtype)

    @classmethod
    def _check_range(cls, values: Array, bits: Bits) -> None:
        bad = np.flatnonzero((values < bits.minimum) | (values > bits.limit))
        if len(bad):
            raise BadInput(
                f"{cls.__name__}: row {bad[0]} has {values[bad[0]]}, "
                f"expected {bits.minimum}..{bits.limit}",
                field=bits.name,
            )

    @classmethod
    @functools.cache
    def kernels(cls) -> tuple[Callable[..., None], Callable[..., bool]]:
        """(unpack(rows, *out), pack(out, *columns) -> any value out of range), compiled."""
        from scout40.streams.codegen import pack_source, unpack_source
        from scout40.streams.jit import generated_module, njit

        name = cls.__name__.lower()
        module = generated_module(name, unpack_source(cls) + "\n\n" + pack_source(cls))
        return njit(module.unpack), njit(module.pack)

    # -- documentation and tests -------------------------------------------------------------

    @classmethod
    def markdown(cls) -> str:
        """A section of the documentation: bit boxes and the table of fields."""
        from scout40.streams.codegen import word_markdown

        return word_markdown(cls)

    @classmethod
    def strategy(cls, **fixed: int) -> SearchStrategy[dict[str, int]]:
        """Hypothesis strategy of one word's field values; ``fixed`` pins fields."""
        from hypothesis import strategies as st

        return st.fixed_dictionaries(
            {
                name: st.just(fixed[name]) if name in fixed else st.integers(b.minimum, b.limit)
                for name, b in cls.fields.items()
            }
        )


def linear(unit: str, lsb: float, offset: int = 0) -> Scale:
    """lsb * (code + offset), constant and product in float32."""

    def convert(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return np.float32(lsb) * (codes + offset).astype(np.float32)

    return Scale(unit, lsb, convert)
