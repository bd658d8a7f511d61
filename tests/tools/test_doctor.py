"""The doctor's findings: true on a good installation, red on a broken one."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from scout40.tools import doctor


def test_this_installation_is_healthy() -> None:
    done = CliRunner().invoke(doctor.command, ["--json"])
    report = json.loads(done.stdout)
    assert done.exit_code == 0, report
    assert report["healthy"]
    names = {finding["name"] for finding in report["findings"]}
    assert {
        "numpy",
        "numba",
        "pyarrow",
        "processor",
        "menus/demo.toml",
        "samples/demo.raw",
    } <= names
    sections = [finding["section"] for finding in report["findings"]]
    assert set(sections) >= {"machine", "dependencies", "cache", "packaged data", "self test"}


def test_missing_and_old_dependencies_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"numpy": "1.25.9", "click": "8.1"}
    monkeypatch.setattr(doctor, "_installed", known.get)
    found = {finding.name: finding for finding in doctor._dependencies()}
    assert found["numpy"].ok is False
    assert "needs >= 1.26" in found["numpy"].text
    assert found["pyarrow"].ok is False
    assert "missing" in found["pyarrow"].text
    assert found["click"].ok is True


def test_extras_say_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda name: None)
    found = {finding.name: finding.text for finding in doctor._extras()}
    assert found["xrootd"].startswith("pip install 'scout40[xrootd]'")


def test_failing_self_test_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ValueError("bits lost")

    monkeypatch.setattr(doctor, "_test_words", broken)
    monkeypatch.setattr(doctor, "_test_menu", lambda: "fine")
    first, second = doctor._self_test()
    assert first.ok is False
    assert "ValueError: bits lost" in first.text
    assert second.ok is True


def test_faults_give_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("cache", "state", "x", False)])
    for arguments in ([], ["--json"]):
        done = CliRunner().invoke(doctor.command, arguments)
        assert done.exit_code == 1
    assert json.loads(done.stdout)["healthy"] is False
