"""Track-finder muons for tests: one crossing as a list of dicts, and blocks of crossings.

Values crowd where it matters: equal qualities and pt, azimuth at the edges of sectors and around
the turn, extreme codes, matching track addresses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.formats.track_finder import TFMU_RANGES as RANGES

Muon = dict[str, int]
Crossing = list[Muon]

DTYPES = {"hw_pt": np.uint16, "hw_phi": np.int8, "hw_eta": np.int16}
SUMS = ("ieta", "iphi", "et")

_OFTEN: dict[str, tuple[int, ...]] = {
    "hw_pt": (1, 1, 63, 64, 127, 128, 511, 0),
    "hw_phi": (-128, -24, -23, 24, 25, 72, 73, 74, 120, 121, 127),
    "hw_qual": (0, 4, 12, 12, 15),
    "hw_eta": (1, 60, 61, 64, 70, 75, 90, 91, 255),
    "stat1": (0, 2, 10, 8, 15),
    "stat2": (0, 2, 10, 8, 15),
}


def positive_link(link: int) -> bool:
    """Whether a link is one of the positive side; a barrel link has none."""
    return link < 48


def muon(link: int, slot: int = 0, **fields: int) -> Muon:
    """A muon of quality 12 and pt 40 in the middle of its sector; track address all "no hit"."""
    plain = dict.fromkeys(RANGES, 0)
    stations = {f"stat{station}": 15 for station in range(1, 5)}
    eta = 40 if link < 54 else -40
    usual = {"hw_pt": 40, "hw_qual": 12, "hw_eta": eta, "hw_sign_valid": 1, **stations}
    return {**plain, **usual, "link": link, "slot": slot, **fields}


@st.composite
def crossings(
    draw: st.DrawFn, largest: int = 8, wrong_side: bool = False, crowded: bool = True
) -> Crossing:
    """A crossing of up to ``largest`` muons, in order of link and slot.

    crowded: the links are few and close to each other.
    """
    links = st.sampled_from((36, 37, 41, 42, 43, 47, 48, 49, 50, 51, 59, 60, 61, 65, 66, 71))
    place = st.tuples(links if crowded else st.integers(36, 71), st.integers(0, 2))
    out = []
    for link, slot in sorted(draw(st.sets(place, max_size=largest))):
        fields = {}
        for name, (low, high) in RANGES.items():
            often = _OFTEN.get(name)
            plain = st.integers(low, high)
            fields[name] = draw(st.one_of(st.sampled_from(often), plain) if often else plain)
        size = max(1, abs(fields["hw_eta"]))
        if not 48 <= link < 60 and not wrong_side:
            fields["hw_eta"] = min(size, 255) if positive_link(link) else -size
        elif draw(st.booleans()):
            fields["hw_eta"] = -fields["hw_eta"] if fields["hw_eta"] > -256 else 255
        out.append({**fields, "link": link, "slot": slot})
    return out


def full_crossings(count: int, seed: int) -> list[Crossing]:
    """Crossings with all 108 muons; many are equal in pt and quality, and close together."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        crossing = []
        for index in range(108):
            link = 36 + index // 3
            fields = {
                name: int(
                    rng.choice(_OFTEN[name]) if name in _OFTEN else rng.integers(low, high + 1)
                )
                for name, (low, high) in RANGES.items()
            }
            fields["hw_pt"] = int(rng.choice((40, 40, 41, 52)))
            barrel = 48 <= link < 60
            negative = rng.random() < 0.5 if barrel else not positive_link(link)
            fields["hw_eta"] *= -1 if negative else 1
            crossing.append({**fields, "link": link, "slot": index % 3})
        out.append(crossing)
    return out


def block(crossings: Sequence[Crossing], sums: Sequence[Crossing] | None = None) -> Block:
    """Crossings, and their calorimeter sums if given, as a block."""
    tables = {"tfmu": _table(crossings, tuple(RANGES))}
    if sums is not None:
        tables["calosum"] = _table(sums, SUMS)
    count = len(crossings)
    return Block(
        first_orbit=0,
        last_orbit=1,
        orbit=np.zeros(count, np.uint32),
        bx=np.arange(1, count + 1, dtype=np.uint16),
        tables=tables,
    ).check()


def _table(crossings: Sequence[Crossing], names: Sequence[str]) -> Table:
    rows = [one for crossing in crossings for one in crossing]
    columns = {
        name: np.array([row[name] for row in rows], DTYPES.get(name, np.uint8)) for name in names
    }
    return Table(columns, offsets_of(np.array([len(c) for c in crossings], np.int64)))
