"""What is installed is what stands in the source tree, and the README keeps its word."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDERS = ("configs", "streams", "emulator", "firmware", "tools")
MODULES = {"pyzmq": "zmq", "hdrhistogram": "hdrh"}
"""Distributions whose module has another name."""


@pytest.fixture(scope="session")
def project(repository: Path) -> dict[str, Any]:
    """The `project` table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    return table


def wanted_files(repository: Path) -> Iterator[Path]:
    """Files of the source tree that an installation must contain, relative to the root."""
    for folder in FOLDERS:
        for path in sorted((repository / folder).rglob("*")):
            relative = path.relative_to(repository)
            data = relative.parts[:2] == ("configs", "samples") or path.suffix == ".toml"
            wanted = path.suffix == ".py" or path.name == "py.typed" or data
            if path.is_file() and wanted and "__pycache__" not in relative.parts:
                yield relative


def test_installation_is_complete_and_equal(repository: Path) -> None:
    wrong = []
    for relative in wanted_files(repository):
        folder, *rest = relative.parts
        installed = Path(importlib.import_module(f"scout40.{folder}").__path__[0]).joinpath(*rest)
        if not installed.is_file():
            wrong.append(f"missing: {relative}")
        elif installed.read_bytes() != (repository / relative).read_bytes():
            wrong.append(f"differs: {relative}")
    assert not wrong, "\n".join(wrong)


def test_every_source_folder_is_a_package(repository: Path) -> None:
    folders = {path.parent for path in wanted_files(repository) if path.suffix == ".py"}
    assert [f"{f}" for f in sorted(folders) if not (repository / f / "__init__.py").is_file()] == []
    assert not (repository / "scout40").exists(), "scout40 is a namespace package"


def test_version_is_the_same_everywhere(project: dict[str, Any], repository: Path) -> None:
    version = project["version"]
    assert importlib.metadata.version("scout40") == version
    assert f"## {version}" in (repository / "CHANGELOG.md").read_text()


def test_entry_point_is_installed() -> None:
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="scout40")
    assert entry.value == "scout40.tools.cli:main"
    assert callable(entry.load())


def test_sample_data_is_installed() -> None:
    samples = importlib.resources.files("scout40.configs") / "samples"
    found = [entry.name for entry in samples.iterdir() if entry.is_file()]
    assert found, "no sample data in configs/samples"


def test_readme_commands_are_the_ones_that_ci_runs(repository: Path) -> None:
    """`.ci/run` takes its commands from README.md: each must be there exactly once."""
    readme = (repository / "README.md").read_text()
    script = (repository / ".ci" / "run").read_text()
    patterns = re.findall(r"run_readme_command '([^']+)'", script)
    assert len(patterns) == 2
    lines = [re.findall(rf"^{pattern}.*$", readme, re.MULTILINE) for pattern in patterns]
    assert lines == [["pip install -e '.[test]' && pytest"], ["pip install . && scout40 demo"]]


def test_core_dependencies_are_imported_by_the_code(
    project: dict[str, Any], repository: Path
) -> None:
    """The core list holds what the code imports and nothing else."""
    named = {re.split(r"[<>=\[ ]", line)[0].replace("-", "_") for line in project["dependencies"]}
    used = set()
    for folder in FOLDERS:
        for path in (repository / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    used |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    used.add(node.module.split(".")[0])
    foreign = used - set(sys.stdlib_module_names) - {"scout40"}
    # llvmlite comes with numba, which names the exact version; hypothesis is for tests only. What
    # the extras report, train and fpga add is imported where it is used.
    extras = {"matplotlib", "onnx", "onnxruntime", "hls4ml"}
    named = {MODULES.get(name, name) for name in named}
    assert foreign - extras - {"llvmlite", "hypothesis"} == named


def test_demo_runs_from_the_installation(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "scout40"
    run = subprocess.run(
        [script, "demo"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "kHz" in run.stdout


def source_files(repository: Path) -> list[Path]:
    """Python files of the project."""
    folders = (*FOLDERS, "tests", "docs")
    return [p for f in folders for p in (repository / f).rglob("*.py") if "build" not in p.parts]


def test_files_and_functions_stay_short(repository: Path) -> None:
    """House rule: files under 400 lines, functions under 60 lines of code."""
    long = []
    for path in source_files(repository):
        text = path.read_text()
        name = path.relative_to(repository)
        if len(text.splitlines()) >= 400:
            long.append(f"{name}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = node.end_lineno - body[0].lineno + 1 if body else 0
                if length >= 60:
                    long.append(f"{name}:{node.lineno} {node.name}: {length} lines")
    assert not long, "\n".join(long)
