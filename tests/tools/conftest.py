"""Files that tests of the program share: sample and menus, links and towers."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from scout40.streams.block import Block, concatenate
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run
from tests.tools.link_tables import Columns, demux_jets, muons, output_muons, towers, write
from tests.tools.program import MENU


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


@pytest.fixture(scope="session")
def menu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three algorithms of muons, three of jets and sums."""
    path = tmp_path_factory.mktemp("menu") / "chain.toml"
    path.write_text(MENU)
    return path


@pytest.fixture(scope="session")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty crossings of muons, numbered from 0."""
    return write(tmp_path_factory.mktemp("links") / "muons.parquet", muons(40))


@pytest.fixture(scope="session")
def good(links: Path) -> Columns:
    """The output muons of :func:`links`."""
    return output_muons(links)


@pytest.fixture(scope="session")
def calo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six events of towers."""
    return write(tmp_path_factory.mktemp("towers") / "towers.parquet", towers(6))


@pytest.fixture(scope="session")
def calo_jets(calo: Path) -> tuple[Path, Columns]:
    """The same, and their jets."""
    return calo, demux_jets(calo)
