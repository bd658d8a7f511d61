"""The packaged sample and menu as files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from scout40.streams.block import Block, concatenate
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run


@pytest.fixture(scope="session")
def sample_file() -> Path:
    return Path(str(resources.files("scout40.configs").joinpath("samples", "demo.raw")))


@pytest.fixture(scope="session")
def demo_menu_file() -> Path:
    return Path(str(resources.files("scout40.configs").joinpath("menus", "demo.toml")))


@pytest.fixture(scope="session")
def sample_block(sample_file: Path) -> Block:
    """The whole sample as one contiguous block."""
    return concatenate(open_source([str(sample_file)]).blocks(Run()))
