"""AXOL1TL version 4, the anomaly trigger of the 2024 menu, as a network.

Source of the numbers and of the arithmetic: ``AXOL1TL_v4`` of the public repository
cms-hls4ml/AXOL1TL; order of the inputs: L1Trigger/L1TGlobal of cms-sw/cmssw. This module only
turns the parameters into a network; what runs it reads the file alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from scout40.emulator.nn import nodes as k
from scout40.emulator.nn.crossing_inputs import ZERO
from scout40.emulator.nn.files import Arrays
from scout40.emulator.nn.fixed import Fixed, Mantissas
from scout40.emulator.nn.network import Feature, Input, Network, Output
from scout40.streams.errors import BadConfig

PARAMETERS = "v4_params.npz"
MODEL = "v4"
"""Name of the model in the menu, so of the file."""

Variant = Literal["vectors", "firmware"]
VARIANTS: Mapping[Variant, str] = {
    "vectors": "pt without its half GeV, muon phi at the station: bits of the 2024 test vectors",
    "firmware": "pt with its half GeV, muon phi at the vertex: boards, and CMSSW since 2026",
}

_SHAPES = {
    "offset": (57,), "shift": (57,), "w1": (57, 28), "b1": (28,), "w2": (28, 15), "b2": (15,),
    "w3": (15, 8), "b3": (8,), **{f"{one}{n}_WI": (3,) for one in "wb" for n in "123"},
}  # fmt: skip
_CODES = Fixed(18, 18)
_ACTIVE = Fixed.parse("ap_ufixed<10,6,AP_RND_CONV,AP_SAT>")
_SCORE = Fixed(18, 14, signed=False)


def converted(folder: str | Path, variant: Variant = "vectors") -> Network:
    """The network with the parameters in ``folder``: v4_params.npz.

    The file has int mantissas w1 (57, 28), w2 (28, 15), w3 (15, 8), b1, b2, b3, for each of them
    NAME_WI = (width, integer bits, signed), and offset and shift (57,). The output is the score
    in units of the menu.

    Raises BadConfig naming file and field for anything else.
    """
    path = Path(folder) / PARAMETERS
    if not path.is_file():
        raise BadConfig(f"{path}: no such file")
    try:
        found = Arrays(path).values
        for name, shape in _SHAPES.items():
            if name not in found or found[name].shape != shape:
                has = found[name].shape if name in found else "missing"
                raise BadConfig(f"{name}: {has}, expected integers {shape}")
        return _network(found, variant)
    except BadConfig as problem:
        raise BadConfig(f"{path}: {problem}") from None


def features(variant: Variant) -> tuple[Feature, ...]:
    """The 57 inputs: transverse momentum, eta and phi of 19 objects."""
    phi = "hw_phi" if variant == "vectors" else "hw_phi_at_vtx"
    names = ["sums.hw_etm", ZERO, "sums.hw_etm_phi"]
    for table, many, columns in (
        ("eg", 4, ("hw_et", "hw_eta", "hw_phi")),
        ("mu", 4, ("hw_pt", "hw_eta_at_vtx", phi)),
        ("jet", 10, ("hw_et", "hw_eta", "hw_phi")),
    ):
        names += [f"{table}{place}.{column}" for place in range(many) for column in columns]
    return tuple(Feature(name) for name in names)


def _network(found: Mapping[str, Mantissas], variant: Variant) -> Network:
    of = {name: _type(name, found[f"{name}_WI"]) for name in _SHAPES if name[0] in "wb"
          and not name.endswith("_WI")}  # fmt: skip
    half = np.tile(np.array([1, 0, 0], np.int64), 19)  # pt codes count half GeV
    gev = _CODES if variant == "vectors" else Fixed(18, 13)
    dense = [
        k.Dense(f"dense{n}", source, found[f"w{n}"], of[f"w{n}"], found[f"b{n}"], of[f"b{n}"],
                None, Fixed.parse(sums))
        for n, source, sums in (
            (1, "x", "ap_fixed<29,16>"), (2, "active1", "ap_fixed<22,15>"),
            (3, "active2", "ap_fixed<21,14>"),
        )
    ]  # fmt: skip
    return Network(
        "AXOL1TL_v4",
        (Input("codes", (57,), _CODES, features(variant)),),
        (
            k.Normalise("gev", "codes", np.zeros(57, np.int64), _CODES, half, None, gev),
            k.Normalise("x", "gev", found["offset"], Fixed(10, 10), found["shift"],
                        Fixed(22, 17), Fixed.parse("ap_fixed<8,6,AP_RND_CONV,AP_SAT>")),
            dense[0],
            k.Relu("active1", "dense1", _ACTIVE),
            dense[1],
            k.Relu("active2", "dense2", _ACTIVE),
            dense[2],
            k.Cast("z", "dense3", Fixed.parse("ap_fixed<10,7,AP_RND_CONV,AP_SAT>")),
            k.Multiply("squares", "z", "z", _SCORE),
            k.Sum("score", "squares", 0, _SCORE, _SCORE),
        ),
        (Output("score", (Feature("score"),)),),
        {
            "source": "cms-hls4ml/AXOL1TL, AXOL1TL_v4, v4.0.0",
            "variant": f"{variant}: {VARIANTS[variant]}",
        },
    )  # fmt: skip


def _type(name: str, numbers: Mantissas) -> Fixed:
    width, integer, signed = numbers.tolist()
    if signed not in (0, 1):
        raise BadConfig(f"{name}_WI: signed {signed}, expected 0 or 1")
    try:
        return Fixed(width, integer, bool(signed))
    except BadConfig as problem:
        raise BadConfig(f"{name}_WI: {problem}") from None
