"""The response of both presets, fitted once."""

from __future__ import annotations

from pathlib import Path

import pytest

from scout40.emulator.muons.calibration import Calibration, calibration
from scout40.emulator.muons.response import Response, response


@pytest.fixture(scope="session")
def tables_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fitted")


@pytest.fixture(scope="session")
def paper() -> Response:
    return response("paper")


@pytest.fixture(scope="session")
def fitted(paper: Response, tables_folder: Path) -> Calibration:
    return calibration(paper, tables_folder)
