"""Settings of calorimeter layer 2, by name.

Sources: public parameter sets of the CMS trigger (caloParams_2024_v0_2 for "2024"). The others are
"2024" without its calibration and the pile-up subtraction of the years before, which are useful
to tell the steps apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scout40.streams.errors import BadConfig


@dataclass(frozen=True, slots=True)
class CaloConfig:
    """One setting.

    pile_up: what is subtracted from a jet. calibrated: whether jets are then calibrated by table.
    seed_threshold: least Et of a jet's central tower, LSB 0.5 GeV.
    """

    name: str
    pile_up: Literal["none", "phi ring", "chunky donut"]
    calibrated: bool
    seed_threshold: int = 8


CONFIGS = {
    config.name: config
    for config in (
        CaloConfig("phi-ring", "phi ring", calibrated=False),
        CaloConfig("2024", "phi ring", calibrated=True),
        CaloConfig("chunky-donut", "chunky donut", calibrated=False),
        CaloConfig("no-subtraction", "none", calibrated=False),
    )
}
"""The first three are numbered 0, 1, 2 in files of expected jets."""


def configuration(name: str) -> CaloConfig:
    """The setting of this name; BadConfig with all names if there is none."""
    if name not in CONFIGS:
        raise BadConfig(f"no calo configuration {name!r}: expected one of {', '.join(CONFIGS)}")
    return CONFIGS[name]
