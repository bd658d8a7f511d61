"""A slow global muon trigger: one crossing, one muon, one Python integer at a time.

It exists to disagree with the production code and shares nothing with it: no table, no kernel.
Written from the description of the trigger logic, not from the code it checks.

A muon is a dict of ints named as the columns of ``tfmu`` (link, slot, hw_pt, hw_phi local, ...);
a calorimeter sum is a dict of ieta, iphi, et. What a crossing does not have counts as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Muon = dict[str, Any]
Input = Mapping[str, int]

NONE = -999
"""Every derived value of a slot without a muon (hw_pt 0)."""

STREAMS = ("EMTF+", "OMTF+", "BMTF", "OMTF-", "EMTF-")
FIRST_LINK = {"EMTF+": 36, "OMTF+": 42, "BMTF": 48, "OMTF-": 60, "EMTF-": 66}
PLACES = {"EMTF+": 4, "OMTF+": 4, "BMTF": 8, "OMTF-": 4, "EMTF-": 4}

DERIVED = ("global_phi", "rank", "dphi", "deta", "cancel", "cancel_within_tf")
CARRIED = (
    "hw_pt", "hw_eta", "hw_sign", "hw_sign_valid", "hw_pt_unconstrained", "hw_dxy"
)  # fmt: skip

KALMAN = {  # code pairs (A, B) that mean the same segment, by wheel(B) - wheel(A)
    0: ("20", "31", "04", "15", "A8", "B9", "8C", "9D"),
    1: ("A0", "B1", "84", "95"),
    -1: ("28", "39", "0C", "1D"),
}
ORIGINAL = {
    0: ("02", "13", "40", "51", "8A", "9B", "C8", "D9"),
    1: ("0A", "1B", "48", "59"),
    -1: ("82", "93", "C0", "D1"),
}
ORIGINAL_ACROSS = ("8A", "9B", "C8", "D9")
"""Both muons in wheel 0, on opposite sides."""


@dataclass(frozen=True)
class Tables:
    """Contents of the look-up tables, index = address.

    match: by pair of track finders ("OMTF-BMTF", "OMTF-EMTF", "OMTF-OMTF", "EMTF-EMTF"), address
    fine << 8 | deta << 3 | dphi; 512 entries, or 128 (then deta is at most 15, and no fine bit).
    dphi, deta: extrapolation by track finder ("BMTF", "OMTF", "EMTF"), 4096 entries.
    coarse: the tables of 2016, address (|eta| >> 2) << 6 | pt below 64, azimuth in steps of 8;
    else (|eta| >> 3) << 7 | pt below 128, in steps of 4.
    """

    rank: Sequence[int]
    match: Mapping[str, Sequence[int]]
    dphi: Mapping[str, Sequence[int]]
    deta: Mapping[str, Sequence[int]]
    phi_index: Sequence[int]
    eta_index: Sequence[int]
    absolute: Sequence[int]
    relative: Sequence[int]
    coarse: bool = False


def ellipse(max_dr: float, f_eta: float, f_phi: float, addresses: int = 512) -> list[int]:
    """A match table: 1 where the two muons are within the ellipse."""
    found = []
    for address in range(addresses):
        dphi, deta = address & 7, (address >> 3) & (31 if addresses == 512 else 15)
        x, y = f_eta * deta * 0.010875, f_phi * dphi * (2 * math.pi / 576)
        found.append(int(math.sqrt(x * x + y * y) <= max_dr))
    return found


def matches_run3() -> dict[str, list[int]]:
    """The four match tables of the Run 3 parameters."""
    return {
        "OMTF-BMTF": ellipse(0.15, 1, 6),
        "OMTF-EMTF": ellipse(0.2, 1, 2),
        "OMTF-OMTF": ellipse(0.05, 1, 2),
        "EMTF-EMTF": ellipse(0.05, 1, 1),
    }


def matches_2016() -> dict[str, list[int]]:
    """One circle for all pairs, four bits of deta."""
    return dict.fromkeys(matches_run3(), ellipse(0.1, 1, 1, 128))


def run(
    muons: Iterable[Input],
    calo_sums: Iterable[Input],
    tables: Tables,
    *,
    bmtf: Literal["kalman", "original"] = "kalman",
    emtf: Literal["coordinates", "addresses"] = "coordinates",
    quality: Literal["2024", "pre2024"] = "2024",
) -> tuple[list[Muon], list[Muon], list[Muon]]:
    """(details, intermediate, final) of one crossing.

    details has one dict per input muon (DERIVED); intermediate has ``stream`` 0..4, ``pos`` and
    ``tf_muon_index`` besides the columns that final has.
    """
    everything: list[Muon] = [dict(muon) for muon in muons]
    present = [muon for muon in everything if muon["hw_pt"] > 0]
    for muon in present:
        _prepare(muon, tables)
    _cancel(present, tables, bmtf, emtf)
    details = [{name: muon.get(name, NONE) for name in DERIVED} for muon in everything]
    sums = {(s["ieta"], s["iphi"]): s["et"] for s in calo_sums}
    intermediate = []
    for number, stream in enumerate(STREAMS):
        kept = [m for m in present if m["stream"] == stream and not m["cancel"]]
        kept.sort(key=lambda m: -m["rank"])  # list.sort is stable: ties keep the input order
        for place, muon in enumerate(kept[: PLACES[stream]]):
            sent = _output(muon, sums, tables, quality)
            intermediate.append({"stream": number, "pos": place, **sent})
    best = sorted(intermediate, key=lambda m: -m["hw_rank"])[:8]
    final = [{**muon, "pos": place} for place, muon in enumerate(best)]
    for muon in final:
        del muon["stream"]
    return details, intermediate, final


# Inputs ----------------------------------------------------------------------------------------


def _prepare(muon: Muon, tables: Tables) -> None:
    """What depends on one muon alone."""
    of_link = [name for name in STREAMS if muon["link"] >= FIRST_LINK[name]][-1]
    muon["finder"], muon["side"] = of_link[:4], of_link[4:]
    muon["wedge"] = muon["link"] - FIRST_LINK[of_link]
    if muon["finder"] == "BMTF":
        muon["stream"] = "BMTF"
        muon["global_phi"] = (48 * muon["wedge"] + muon["hw_phi"] - 24) % 576
    else:
        muon["stream"] = muon["finder"] + ("+" if muon["hw_eta"] > 0 else "-")
        muon["global_phi"] = (96 * muon["wedge"] + muon["hw_phi"] + 24) % 576
    address = min(muon["hw_qual"], 15) << 9 | min(muon["hw_pt"], 511)
    muon["rank"] = tables.rank[address]
    muon["dphi"], muon["deta"] = _extrapolation(muon, tables)
    muon["cancel"] = muon["cancel_within_tf"] = 0


def _extrapolation(muon: Muon, tables: Tables) -> tuple[int, int]:
    pt, size = muon["hw_pt"], abs(muon["hw_eta"])
    if pt >= (64 if tables.coarse else 128):
        return 0, 0
    address = ((size >> 2) & 63) << 6 | pt if tables.coarse else ((size >> 3) & 31) << 7 | pt
    dphi = tables.dphi[muon["finder"]][address] << (3 if tables.coarse else 2)
    deta = tables.deta[muon["finder"]][address]
    return -dphi if muon["hw_sign"] == 1 else dphi, -deta if muon["hw_eta"] > 0 else deta


# Cancel-out ------------------------------------------------------------------------------------


def _cancel(muons: list[Muon], tables: Tables, bmtf: str, emtf: str) -> None:
    """Sets the cancel bits; a cancelled muon still cancels others."""

    def wedge(stream: str, number: int) -> list[Muon]:
        count = 12 if stream == "BMTF" else 6
        return [m for m in muons if m["stream"] == stream and m["wedge"] == number % count]

    def near(pair: str) -> Callable[[Muon, Muon], bool]:
        return lambda a, b: _coordinates(a, b, tables.match[pair])

    for stream in ("BMTF", "OMTF+", "OMTF-", "EMTF+", "EMTF-"):
        same = near(f"{stream[:4]}-{stream[:4]}")
        if stream == "BMTF":
            same = _same_kalman if bmtf == "kalman" else _same_original
        elif stream[:4] == "EMTF" and emtf == "addresses":
            same = _same_endcap
        for n in range(12 if stream == "BMTF" else 6):
            _compare(wedge(stream, n), wedge(stream, n + 1), same, second_wins_ties=False)
    for muon in muons:
        muon["cancel_within_tf"] = muon["cancel"]
    for side in "+-":
        for n in range(6):
            for k in range(2 * n, 2 * n + 4):
                overlap, barrel = wedge(f"OMTF{side}", n), wedge("BMTF", k)
                _compare(overlap, barrel, near("OMTF-BMTF"), second_wins_ties=True)
    for side in "+-":
        for n in range(6):
            for k in (n - 1, n, n + 1):
                overlap, endcap = wedge(f"OMTF{side}", n), wedge(f"EMTF{side}", k)
                _compare(overlap, endcap, near("OMTF-EMTF"), second_wins_ties=True)


def _compare(
    first: list[Muon],
    second: list[Muon],
    same: Callable[[Muon, Muon], bool],
    *,
    second_wins_ties: bool,
) -> None:
    """Cancels the worse muon of each matching pair."""
    if not first or not second:
        return
    sides = {group[0]["side"] for group in (first, second)} - {""}
    if len(sides) == 2:  # links of both ends of the detector: refused, nothing is compared
        return
    for a in first:
        for b in second:
            if same(a, b):
                wins = a["hw_qual"] > b["hw_qual"]
                if a["hw_qual"] == b["hw_qual"]:
                    wins = not second_wins_ties
                (b if wins else a)["cancel"] = 1


def _coordinates(a: Muon, b: Muon, table: Sequence[int]) -> bool:
    dphi = abs(a["global_phi"] - b["global_phi"])
    if dphi > 338:
        dphi = abs(dphi - 576)
    deta = abs(a["hw_eta"] - b["hw_eta"])
    wide = len(table) == 512
    if dphi > 7 or deta > (31 if wide else 15):
        return False
    fine = all(m["finder"] == "EMTF" or m["hw_hf"] == 1 for m in (a, b))
    address = (fine and wide) << 8 | deta << 3 | dphi
    return bool(table[address])


def _same_kalman(a: Muon, b: Muon) -> bool:
    step = b["wheel_num"] - a["wheel_num"]
    if a["wheel_side"] != b["wheel_side"] and {a["wheel_num"], b["wheel_num"]} != {0, 1}:
        return False
    return _shares(a, b, ("stat1", "stat2", "stat3"), KALMAN.get(step, ()))


def _same_original(a: Muon, b: Muon) -> bool:
    stations = ("stat2", "stat3", "stat4")
    if a["wheel_side"] == b["wheel_side"]:
        step = b["wheel_num"] - a["wheel_num"]
        return _shares(a, b, stations, ORIGINAL.get(step, ()))
    if a["wheel_num"] == b["wheel_num"] == 0:
        return _shares(a, b, stations, ORIGINAL_ACROSS)
    return False


def _shares(a: Muon, b: Muon, stations: Iterable[str], allowed: Iterable[str]) -> bool:
    return any(f"{a[station]:X}{b[station]:X}" in allowed for station in stations)


def _same_endcap(a: Muon, b: Muon) -> bool:
    for muon in (a, b):
        if all(muon[f"me{k}_ch"] == 0 for k in (1, 2, 3, 4)):
            return False
    for k, step in ((1, 3), (2, 2), (3, 2), (4, 2)):
        chamber = b[f"me{k}_ch"]
        neighbours = chamber != 0 and a[f"me{k}_ch"] == chamber + step
        if neighbours and a[f"me{k}_seg"] == b[f"me{k}_seg"]:
            return True
    return False


# Output ----------------------------------------------------------------------------------------


def _output(muon: Muon, sums: Mapping[tuple[int, int], int], tables: Tables, rule: str) -> Muon:
    sent = {name: muon[name] for name in CARRIED}
    sent["tf_muon_index"] = 3 * (muon["link"] - 36) + muon["slot"]
    sent["hw_phi"], sent["hw_rank"] = muon["global_phi"], muon["rank"]
    sent["hw_qual"] = muon["hw_qual"]
    if rule == "pre2024":
        halo = muon["finder"] == "EMTF" and muon["hw_hf"] == 1
        sent["hw_qual"] = 15 if halo else muon["hw_qual"] & 12
    sent["charge"] = (1 - 2 * muon["hw_sign"]) if muon["hw_sign_valid"] else 0
    sent["dphi_extra"], sent["deta_extra"] = muon["dphi"], muon["deta"]
    phi, eta = (muon["global_phi"] + muon["dphi"]) % 576, muon["hw_eta"] + muon["deta"]
    sent["hw_phi_at_vtx"], sent["hw_eta_at_vtx"] = phi, eta
    ieta, iphi = tables.eta_index[eta & 511], tables.phi_index[phi]
    energy = sums.get((ieta, iphi), 0)
    sent["calo_eta_index"], sent["calo_phi_index"], sent["hw_iso_sum"] = ieta, iphi, energy
    relative = tables.relative[energy << 9 | muon["hw_pt"]]
    sent["hw_iso"] = tables.absolute[energy] + 2 * relative
    return sent
