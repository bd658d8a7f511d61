"""Fixtures and settings that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# A cold numba kernel compiles inside the first example, so no profile sets a deadline.
settings.register_profile(
    "dev", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci", settings.get_profile("dev"), derandomize=True, print_blob=True, database=None
)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=20)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)


ONCE = (
    "test_collect", "test_feed", "test_keys", "test_live_", "test_make_pool", "test_metrics",
    "test_monitor", "test_c_client", "test_security", "test_sockets",
)  # fmt: skip
"""Beginnings of files whose tests need processes, sockets or terminals: they run once."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the tests that take minutes each")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their place: fuzz is slow, streams and emulator are core, others wheel."""
    marks = {"fuzz": "slow", "streams": "core", "emulator": "core"}
    skip = pytest.mark.skip(reason="takes minutes: give --long")
    for item in items:
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(skip)
        if item.path.name.startswith(ONCE):
            item.add_marker("slow")
        if not item.get_closest_marker("slow") and not item.get_closest_marker("long"):
            folder = item.path.relative_to(ROOT / "tests").parts[0]
            item.add_marker(marks.get(folder, "wheel"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree that these tests belong to."""
    return ROOT


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of reference data, which is not part of the repository.

    Taken from `SCOUT40_REFERENCE`, else `../shared/reference` beside the repository.
    """
    named = os.environ.get("SCOUT40_REFERENCE")
    folder = Path(named) if named else ROOT.parent / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} is not a folder (set SCOUT40_REFERENCE)")
    return folder
