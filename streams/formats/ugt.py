"""Object words at the input of the global trigger (uGT), Run 3 layout.

Sources: CMS uGT interface document (scales_inputs_2_ugt.tex of mp7_ugt_legacy) and the CMS muon
raw-to-digi translators. The scouting GMT and calorimeter words carry the same bits, so these
declarations also name the columns of the tables ``mu``, ``eg``, ``tau``, ``jet`` and ``sums``.
"""

from __future__ import annotations

from scout40.streams.formats.scales import (
    CALO_ET,
    CALO_ETA,
    CALO_PHI,
    MUON_ETA,
    MUON_PHI,
    MUON_PT,
    MUON_PT_UNCONSTRAINED,
)
from scout40.streams.layout import Bits, Word


class UgtMuon(Word, dtype="u8"):
    """One muon; hw_pt 0 means no muon. Conditions use eta and phi at the vertex."""

    hw_phi_at_vtx = Bits(0, 10, "azimuth extrapolated to the vertex", scale=MUON_PHI)
    hw_pt = Bits(10, 9, "transverse momentum, 0 = no muon, 511 = overflow", scale=MUON_PT)
    hw_qual = Bits(19, 4, "quality")
    hw_eta_at_vtx = Bits(
        23, 9, "pseudorapidity extrapolated to the vertex", signed=True, scale=MUON_ETA
    )
    hw_iso = Bits(32, 2, "isolation: bit 0 absolute, bit 1 relative")
    hw_sign = Bits(34, 1, "charge sign, 1 = negative")
    hw_charge_valid = Bits(35, 1, "charge sign is valid")
    tf_muon_index = Bits(36, 7, "track-finder muon index 0..107, 3 * (link - 36) + slot")
    hw_phi = Bits(43, 10, "azimuth at the muon station", scale=MUON_PHI)
    hw_pt_unconstrained = Bits(
        53, 8, "transverse momentum without vertex constraint, 0 = none",
        scale=MUON_PT_UNCONSTRAINED,
    )  # fmt: skip
    hw_shower = Bits(61, 1, "hadronic shower bit; its meaning depends on the muon's place")
    hw_dxy = Bits(62, 2, "impact parameter")


class UgtEgamma(Word):
    """One e/gamma candidate; hw_et 0 means none."""

    hw_et = Bits(0, 9, "transverse energy, 511 = overflow", scale=CALO_ET)
    hw_eta = Bits(9, 8, "pseudorapidity", signed=True, scale=CALO_ETA)
    hw_phi = Bits(17, 8, "azimuth", scale=CALO_PHI)
    hw_iso = Bits(25, 2, "isolation")


class UgtTau(Word):
    """One tau candidate; hw_et 0 means none."""

    hw_et = Bits(0, 9, "transverse energy, 511 = overflow", scale=CALO_ET)
    hw_eta = Bits(9, 8, "pseudorapidity", signed=True, scale=CALO_ETA)
    hw_phi = Bits(17, 8, "azimuth", scale=CALO_PHI)
    hw_iso = Bits(25, 2, "isolation")


class UgtJet(Word):
    """One jet; hw_et 0 means none."""

    hw_et = Bits(0, 11, "transverse energy, 2047 = overflow", scale=CALO_ET)
    hw_eta = Bits(11, 8, "pseudorapidity", signed=True, scale=CALO_ETA)
    hw_phi = Bits(19, 8, "azimuth", scale=CALO_PHI)
    hw_displaced = Bits(27, 1, "displaced (long-lived) jet")
    hw_qual = Bits(28, 2, "quality")


class UgtSums(Word, words=6):
    """The six energy-sum words of one crossing."""

    hw_ett = Bits(0, 12, "total transverse energy", word=0, scale=CALO_ET)
    hw_ettem = Bits(12, 12, "total transverse energy, electromagnetic", word=0, scale=CALO_ET)
    hw_mbt0hfp = Bits(28, 4, "minimum-bias count, HF +, threshold 0", word=0)
    hw_htt = Bits(0, 12, "scalar sum of jets", word=1, scale=CALO_ET)
    hw_tower_count = Bits(12, 13, "number of towers over threshold", word=1)
    hw_mbt0hfm = Bits(28, 4, "minimum-bias count, HF -, threshold 0", word=1)
    hw_etm = Bits(0, 12, "missing transverse energy", word=2, scale=CALO_ET)
    hw_etm_phi = Bits(12, 8, "azimuth of ETM", word=2, scale=CALO_PHI)
    hw_asymet = Bits(20, 8, "asymmetry of ET", word=2)
    hw_mbt1hfp = Bits(28, 4, "minimum-bias count, HF +, threshold 1", word=2)
    hw_htm = Bits(0, 12, "missing transverse energy from jets", word=3, scale=CALO_ET)
    hw_htm_phi = Bits(12, 8, "azimuth of HTM", word=3, scale=CALO_PHI)
    hw_asymht = Bits(20, 8, "asymmetry of HT", word=3)
    hw_mbt1hfm = Bits(28, 4, "minimum-bias count, HF -, threshold 1", word=3)
    hw_etmhf = Bits(0, 12, "missing transverse energy with HF", word=4, scale=CALO_ET)
    hw_etmhf_phi = Bits(12, 8, "azimuth of ETMHF", word=4, scale=CALO_PHI)
    hw_asymethf = Bits(20, 8, "asymmetry of ET with HF", word=4)
    hw_cent_low = Bits(28, 4, "centrality bits 0..3", word=4)
    hw_htmhf = Bits(0, 12, "missing transverse energy from jets with HF", word=5, scale=CALO_ET)
    hw_htmhf_phi = Bits(12, 8, "azimuth of HTMHF", word=5, scale=CALO_PHI)
    hw_asymhthf = Bits(20, 8, "asymmetry of HT with HF", word=5)
    hw_cent_high = Bits(28, 4, "centrality bits 4..7", word=5)


OBJECT_WORDS: dict[str, type[Word]] = {
    "mu": UgtMuon,
    "eg": UgtEgamma,
    "tau": UgtTau,
    "jet": UgtJet,
    "sums": UgtSums,
}
"""Tables that the menu reads -> the word that declares their hardware columns."""
