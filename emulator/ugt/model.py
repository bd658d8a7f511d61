"""The trigger menu as values: algorithms over conditions over object requirements.

Every number is the hardware integer (or the exact decimal) that the global trigger compares
with, whichever file it was read from. Sources of the rules: the public documentation of the
CMS Level-1 menu grammar and of the micro global trigger firmware (mp7_ugt_legacy, gtl.tex).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from scout40.emulator.ugt.compile import Plugin
    from scout40.emulator.ugt.decide import CompiledMenu

Kind = Literal[
    "single",
    "comb",
    "dist",
    "mass_inv",
    "mass_inv_3",
    "mass_inv_upt",
    "mass_inv_dr",
    "mass_trv",
    "comb_orm",
    "dist_orm",
    "mass_inv_orm",
    "mass_trv_orm",
]
CutKind = Literal[
    "DETA", "DPHI", "DR", "MASS", "MASSUPT", "MASSDR", "TBPT", "ORMDETA", "ORMDPHI", "ORMDR"
]


@dataclass(frozen=True, slots=True)
class Window:
    """Inclusive range of hardware integers; for phi, lower > upper wraps around."""

    lower: int
    upper: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Inclusive range of a correlation quantity, as the hardware defines it.

    DETA, DPHI, ORMDETA, ORMDPHI: plain differences (phi in rad). DR, ORMDR: squared distance.
    MASS, MASSUPT: M^2/2 in GeV^2. MASSDR: (M^2/2)/dR^2. TBPT: squared transverse momentum, GeV^2.
    """

    minimum: Decimal
    maximum: Decimal


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one object of a condition must satisfy.

    ``object`` is the grammar's type: MU, EG, TAU, JET, ETT, ETTEM, HTT, ETM, HTM, ETMHF, HTMHF,
    TOWERCOUNT, ASYMET, ASYMHT, ASYMETHF, ASYMHTHF, CENT0..CENT7, MBT0HFP, MBT0HFM, MBT1HFP,
    MBT1HFM, MUS0, MUS1, MUS2, MUSOOT0, MUSOOT1, EXT, AXO, TOPO, CICADA, ADT, ZDCP, ZDCM.
    Windows of one field are OR-ed; an empty tuple means no cut. Masks (quality, isolation,
    impact_parameter) pass value v when bit v is set; None means no cut.
    """

    object: str
    bx_offset: int = 0
    threshold: int = 0
    comparison: Literal["ge", "eq"] = "ge"
    eta: tuple[Window, ...] = ()
    phi: tuple[Window, ...] = ()
    index: tuple[Window, ...] = ()
    upt: Window | None = None
    slice: Window | None = None
    quality: int | None = None
    isolation: int | None = None
    impact_parameter: int | None = None
    charge: Literal["positive", "negative"] | None = None
    displaced: bool | None = None
    signal: str | None = None  # EXT: name of the external condition
    signal_bit: int | None = None  # EXT: bit 0..255; None when the menu does not say
    network: tuple[tuple[str, str], ...] = ()  # AXO, TOPO, CICADA, ADT: (cut kind, value) pairs


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; for the ``*_orm`` kinds the last requirement is the overlap reference."""

    expression: str
    kind: Kind
    requirements: tuple[Requirement, ...]
    cuts: tuple[tuple[CutKind, Limits], ...] = ()
    charge_correlation: Literal["os", "ls"] | None = None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A reference to ``Menu.conditions[condition]``."""

    condition: int


@dataclass(frozen=True, slots=True)
class Operation:
    """NOT has one operand, AND, OR and XOR two or more."""

    operator: Literal["NOT", "AND", "OR", "XOR"]
    operands: tuple[Leaf | Operation, ...]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """``index`` is the bit 0..511 of the decision word."""

    index: int
    name: str
    expression: str
    tree: Leaf | Operation
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Menu:
    """``conditions`` are distinct; algorithms are sorted by index, which is unique."""

    name: str
    algorithms: tuple[Algorithm, ...]
    conditions: tuple[Condition, ...]
    scale_set: str = ""
    grammar: str = ""
    uuid: str = ""
    source: str = ""  # file name it was read from
    digest: str = ""  # sha256 of that file's bytes

    def compile(self, plugins: Mapping[str, Plugin] | None = None) -> CompiledMenu:
        """Ready to decide; see :func:`scout40.emulator.ugt.decide.compile_menu`."""
        from scout40.emulator.ugt.decide import compile_menu  # numba is imported only now

        return compile_menu(self, plugins)
