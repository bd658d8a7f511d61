"""The program in the process of the tests."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from scout40.tools.cli import group

MENU = """
[menu]
name = "chain"

[cuts]
MU-QLTY_A = { quality = [8, 9, 10, 11, 12, 13, 14, 15] }
MU-ETA_A = { eta = [-1.2, 1.2] }
MU-ISO_A = { isolation = [1, 3] }
DR_A = { dr = [0, 1.4] }

[[algorithm]]
name = "L1_SingleMu20"
expression = "MU20[MU-QLTY_A]"

[[algorithm]]
name = "L1_SingleMu5_Iso"
expression = "MU5[MU-ETA_A, MU-ISO_A]"

[[algorithm]]
name = "L1_DoubleMu_dR"
expression = "dist{MU3, MU3[MU-QLTY_A]}[DR_A]"

[[algorithm]]
name = "L1_DoubleJet30"
expression = "comb{JET30, JET30}"

[[algorithm]]
name = "L1_HTT100"
expression = "HTT100"

[[algorithm]]
name = "L1_ETM20"
expression = "ETM20"
"""
"""Three algorithms of muons, then three of jets and sums."""


def run(*arguments: object) -> Result:
    """The program in this process; a fault of scout40 is raised."""
    return CliRunner().invoke(group, [str(one) for one in arguments], catch_exceptions=False)


def json_of(done: Result, code: int = 0) -> dict[str, Any]:
    """What a run with ``--json`` printed, after a look at its exit code."""
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found
