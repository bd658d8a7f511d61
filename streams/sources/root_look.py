"""Which layout a ROOT file has; and when it has none, what it holds and what would be needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

from scout40.streams.errors import BadInput
from scout40.streams.sources.branch_map import BranchMap
from scout40.streams.sources.central_nano import CentralNano
from scout40.streams.sources.flat_tree import FlatTree
from scout40.streams.sources.orbit_collection import OrbitCollections
from scout40.streams.sources.root_file import Ntuple, RootFile
from scout40.streams.sources.root_layout import Layout, missing_text
from scout40.streams.sources.scouting_nano import ScoutingNano

LOOKS: tuple[Callable[[Ntuple], Layout | None], ...] = (
    ScoutingNano.look,
    OrbitCollections.look,
    CentralNano.look,
)
"""Asked in this order: scouting NanoAOD has table names of the central one."""

NEEDS: dict[str, tuple[tuple[str, ...], str]] = {
    "scouting NanoAOD": (
        ("orbitNumber", "bunchCrossing", "L1Mu_pt", "L1EG_pt", "L1Tau_pt", "L1Jet_pt",
         "L1EtSum_etSumType", "L1BMTFStub_hwPhi", "L1CaloTower_pt"),
        "the first two and any table",
    ),
    "central NanoAOD with L1 objects": (
        ("L1Mu_pt", "L1EG_pt", "L1Tau_pt", "L1Jet_pt", "L1EtSum_etSumType"),
        "any of them",
    ),
    "central NanoAOD with trigger objects": (
        ("TrigObj_id", "TrigObj_l1pt", "TrigObj_eta", "TrigObj_phi"),
        "all of them",
    ),
}  # fmt: skip
"""Layout -> branches that it is known by, and how many of them it takes."""


def layout_of(file: RootFile, branch_map: BranchMap | None) -> Layout:
    """The layout of the file: of its tree ``Events`` when there is one, else of any tree.

    Raises BadInput saying what the file holds and what each layout would need.
    """
    if branch_map is not None:
        return FlatTree(_mapped(file, branch_map), branch_map)
    unreadable: list[BadInput] = []
    for ntuple in sorted(file.ntuples, key=lambda found: found.name != "Events"):
        for look in LOOKS:
            try:
                layout = look(ntuple)
            except BadInput as error:
                unreadable.append(error)
                continue
            if layout is not None:
                return layout
    if unreadable:
        raise unreadable[0]
    raise BadInput(_nothing_known(file), file=file.path)


def _mapped(file: RootFile, branch_map: BranchMap) -> Ntuple:
    """The tree that the map names, or the only one."""
    if branch_map.tree is None and len(file.ntuples) == 1:
        return file.ntuples[0]
    for ntuple in file.ntuples:
        if ntuple.name == branch_map.tree:
            return ntuple
    names = [ntuple.name for ntuple in file.ntuples]
    if branch_map.tree is None:
        raise BadInput(
            f"has {len(names)} trees ({', '.join(names)}), the map {branch_map.file} names none: "
            "say which with tree = ...",
            file=file.path,
        )
    raise BadInput(
        f"has no tree {missing_text([branch_map.tree], names)}, which the map {branch_map.file} "
        f"names; it has: {', '.join(names) or 'none'}",
        file=file.path,
    )


def _nothing_known(file: RootFile) -> str:
    if not file.ntuples:
        held = f"it holds {', '.join(file.others[:8])}" if file.others else "it is empty"
        return f"no TTree or RNTuple in this file, {held}"
    held = "; ".join(_described(ntuple) for ntuple in file.ntuples)
    main = max(file.ntuples, key=lambda ntuple: len(ntuple.branches))
    wants = []
    for layout, (names, many) in NEEDS.items():
        missing = [name for name in names if not main.has(name)]
        text = missing_text(missing, main.branches)
        wants.append(f"{layout} (needs {many}): {main.name} lacks {text}")
    maps = resources.files("scout40.configs").joinpath("maps")
    shipped = ", ".join(sorted(place.name for place in maps.iterdir()))
    return (
        f"no layout with Level-1 data recognised. It holds {held}. "
        + ". ".join(wants)
        + ". A tree with other names can be read through a branch map (--map FILE.toml); "
        + f"installed maps, to use or to copy: {shipped} in {maps}"
    )


def _described(ntuple: Ntuple) -> str:
    names = [name for name in ntuple.branches if "/" not in name]
    tables = list(dict.fromkeys(name.partition("_")[0] for name in names))
    shown = ", ".join(tables[:40]) + (", ..." if len(tables) > 40 else "")
    return (
        f"{ntuple.kind} {ntuple.name} with {ntuple.entries} entries and {len(names)} branches "
        f"({shown})"
    )
