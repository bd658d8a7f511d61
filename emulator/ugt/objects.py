"""The object lists and single values that conditions look at, and where they come from.

Each list is given to the kernel as packed words (streams/formats/ugt.py), each single value as
an integer per crossing. Adding an object type is a row here.
"""

from __future__ import annotations

from dataclasses import dataclass

from scout40.streams.formats.ugt import UgtEgamma, UgtJet, UgtMuon, UgtSums, UgtTau
from scout40.streams.layout import Bits, Word


@dataclass(frozen=True)
class ObjectList:
    """An object type of the menu.

    table, word:
        the Block's table and its declared word.
    fields:
        cut name of model.Requirement -> declared bits.
    zero_exists:
        True for sums: a value of 0 is a value; False: hw_pt 0 means there is no object.
    """

    table: str
    word: type[Word]
    fields: dict[str, Bits]
    zero_exists: bool = False


def _calo(table: str, word: type[Word], **more: str) -> ObjectList:
    names = {"pt": "hw_et", "eta": "hw_eta", "phi": "hw_phi", **more}
    return ObjectList(table, word, {cut: word.fields[name] for cut, name in names.items()})


def _missing(name: str) -> ObjectList:
    fields = {"pt": UgtSums.fields[name], "phi": UgtSums.fields[f"{name}_phi"]}
    return ObjectList("sums", UgtSums, fields, zero_exists=True)


_CHARGE = Bits(34, 2, "charge code: bit 1 valid, bit 0 negative", name="hw_charge")

LISTS: dict[str, ObjectList] = {
    "MU": ObjectList(
        "mu",
        UgtMuon,
        {
            "pt": UgtMuon.fields["hw_pt"],
            "eta": UgtMuon.fields["hw_eta_at_vtx"],
            "phi": UgtMuon.fields["hw_phi_at_vtx"],
            "quality": UgtMuon.fields["hw_qual"],
            "isolation": UgtMuon.fields["hw_iso"],
            "charge": _CHARGE,
            "index": UgtMuon.fields["tf_muon_index"],
            "upt": UgtMuon.fields["hw_pt_unconstrained"],
            "impact_parameter": UgtMuon.fields["hw_dxy"],
        },
    ),
    "EG": _calo("eg", UgtEgamma, isolation="hw_iso"),
    "TAU": _calo("tau", UgtTau, isolation="hw_iso"),
    "JET": _calo("jet", UgtJet, displaced="hw_displaced", quality="hw_qual"),
    "ETM": _missing("hw_etm"),
    "HTM": _missing("hw_htm"),
    "ETMHF": _missing("hw_etmhf"),
    "HTMHF": _missing("hw_htmhf"),
}

COLUMNS_OF_CUT: dict[str, tuple[str, ...]] = {"charge": ("hw_sign", "hw_charge_valid")}
"""Cuts whose bits are not one column of the table."""

VALUES: dict[str, tuple[str, ...]] = {
    "ETT": ("hw_ett",),
    "ETTEM": ("hw_ettem",),
    "HTT": ("hw_htt",),
    "TOWERCOUNT": ("hw_tower_count",),
    "ASYMET": ("hw_asymet",),
    "ASYMHT": ("hw_asymht",),
    "ASYMETHF": ("hw_asymethf",),
    "ASYMHTHF": ("hw_asymhthf",),
    "MBT0HFP": ("hw_mbt0hfp",),
    "MBT0HFM": ("hw_mbt0hfm",),
    "MBT1HFP": ("hw_mbt1hfp",),
    "MBT1HFM": ("hw_mbt1hfm",),
    **{f"CENT{bit}": ("hw_cent_low", "hw_cent_high")[bit // 4 :][:1] for bit in range(8)},
}
"""Single values per crossing -> columns of the table ``sums``."""

SHOWER_SLOT = {"MUS0": 0, "MUS1": 2, "MUS2": 3, "MUSOOT0": 4, "MUSOOT1": 6}
"""Muon showers -> place in the muon list whose bit 61 carries them."""

NETWORKS = ("AXO", "TOPO", "CICADA", "ADT")
"""Names that need a network; a plug-in may evaluate them, nothing else does."""
