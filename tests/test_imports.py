"""Every module imports, once, and nothing is loaded under a second name."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("configs", "streams", "emulator", "firmware", "tools")


def module_names() -> Iterator[str]:
    """Dotted names of all installed modules of scout40, found without importing them."""
    for folder in FOLDERS:
        package = importlib.import_module(f"scout40.{folder}")
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            yield found.name


MODULES = sorted(module_names())


@pytest.mark.parametrize("name", MODULES)
def test_module_imports_and_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"


def second_names() -> dict[str, set[str]]:
    """Source file -> module names, for files of scout40 that are loaded under several names."""
    roots = [Path(p) for f in FOLDERS for p in importlib.import_module(f"scout40.{f}").__path__]
    names: dict[str, set[str]] = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and any(Path(path).resolve().is_relative_to(root.resolve()) for root in roots):
            names.setdefault(str(Path(path).resolve()), set()).add(name)
    return {path: found for path, found in names.items() if found != {expected_name(path, roots)}}


def expected_name(path: str, roots: list[Path]) -> str:
    """`.../streams/block.py` -> `scout40.streams.block`."""
    for root in roots:
        if Path(path).is_relative_to(root.resolve()):
            parts = (root.name, *Path(path).relative_to(root.resolve()).with_suffix("").parts)
            return ".".join(("scout40", *parts)).removesuffix(".__init__")
    raise ValueError(path)


def test_no_file_is_loaded_under_two_names() -> None:
    for name in MODULES:
        importlib.import_module(name)
    assert second_names() == {}


def test_no_class_or_function_lives_under_two_names() -> None:
    places: dict[tuple[str, int, str], set[str]] = {}
    for name in MODULES:
        for kind in (inspect.isclass, inspect.isfunction):
            for label, thing in inspect.getmembers(importlib.import_module(name), kind):
                home = thing.__module__
                if home.split(".")[0] in {"scout40", *FOLDERS}:
                    assert home.startswith("scout40."), f"{label} in {name} comes from {home}"
                    code = getattr(thing, "__code__", None)
                    line = code.co_firstlineno if code else 0
                    places.setdefault((home, line, thing.__qualname__), set()).add(hex(id(thing)))
    doubled = {place: ids for place, ids in places.items() if len(ids) > 1}
    assert doubled == {}


def test_the_guard_sees_a_bare_import(repository: Path) -> None:
    """The check above is not blind: a bare import from the source tree is found."""
    code = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('test_imports', sys.argv[1])\n"
        "guard = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(guard)\n"
        "import scout40.streams, pathlib\n"
        "sys.path.insert(0, str(pathlib.Path(scout40.streams.__path__[0]).parent))\n"
        "import streams.errors\n"
        "print(sorted(name for names in guard.second_names().values() for name in names))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, __file__], capture_output=True, text=True, timeout=120
    )
    assert "'streams.errors'" in run.stdout, run.stderr


def test_the_command_line_starts_without_slow_imports() -> None:
    """numba and friends take most of a second to import: `scout40 --help` must not need them."""
    code = (
        "import sys\nimport scout40.tools.cli\n"
        "print([n for n in ('numba', 'uproot', 'awkward', 'pyarrow') if n in sys.modules])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_packages_are_typed(folder: str) -> None:
    package = importlib.import_module(f"scout40.{folder}")
    assert (Path(package.__path__[0]) / "py.typed").is_file()
