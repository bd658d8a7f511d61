"""Networks of crossings get the kernel that is compiled once for all."""

from __future__ import annotations

import pytest

from scout40.emulator.nn import Network, crossing_inputs
from scout40.emulator.nn.compiled import Compiled, compile_network


@pytest.fixture(autouse=True)
def generic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel that is compiled once for all: generated code would take seconds a network."""

    def compiled(network: Network) -> Compiled:
        return compile_network(network, "generic")

    if "chosen" not in request.node.name:
        monkeypatch.setattr(crossing_inputs, "compile_network", compiled)
