"""``scout40 keys``: files that the sockets accept and nobody else can read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from scout40.streams.errors import BadConfig
from scout40.streams.security import certificate
from tests.tools.program import json_of, run


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_pair_is_made(tmp_path: Path) -> None:
    done = run("keys", tmp_path / "keys", "--name", "feed")
    assert done.exit_code == 0, done.output
    public, secret = tmp_path / "keys" / "feed.key", tmp_path / "keys" / "feed.key_secret"
    assert mode(public.parent) == 0o700
    assert mode(secret) == 0o600
    assert certificate(public)[1] == b""
    assert certificate(secret, secret=True)[0] == certificate(public)[0]
    for word in ("--keys", "--allow", "--server-key", str(public), str(secret)):
        assert word in done.stdout


def test_pairs_differ_and_are_never_replaced(tmp_path: Path) -> None:
    first = json_of(run("keys", tmp_path / "k", "--name", "a", "--json"))
    second = json_of(run("keys", tmp_path / "k", "--name", "b", "--json"))
    before = Path(first["secret"]).read_bytes()
    assert certificate(Path(first["public"])) != certificate(Path(second["public"]))
    again = run("keys", tmp_path / "k", "--name", "a")
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert Path(first["secret"]).read_bytes() == before
    Path(first["secret"]).unlink()  # one of the two is enough to stop
    assert run("keys", tmp_path / "k", "--name", "a").exit_code == 2


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-x", "a b"])
def test_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    done = run("keys", tmp_path / "k", f"--name={name}")
    assert done.exit_code == 2
    assert "name" in done.stderr
    assert not (tmp_path / "k").exists()


def test_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    done = run("keys", tmp_path / "open", "--name", "a")
    assert done.exit_code == 2
    assert f"chmod 700 {tmp_path / 'open'}" in done.stderr
    assert not list((tmp_path / "open").iterdir())


@pytest.mark.parametrize("access", [0o640, 0o604, 0o620])
def test_secret_that_others_can_reach_is_refused(tmp_path: Path, access: int) -> None:
    made = json_of(run("keys", tmp_path / "k", "--name", "a", "--json"))
    secret = Path(made["secret"])
    secret.chmod(access)
    with pytest.raises(BadConfig, match="chmod 600"):
        certificate(secret, secret=True)


GARBAGE = {
    "nothing": b"",
    "noise": bytes(range(256)) * 8,
    "a key without value": b"curve\n    public-key\n",
    "a short key": b'curve\n    public-key = "abc"\n    secret-key = "abc"\n',
    "not Z85": b'curve\n    public-key = "%s"\n    secret-key = "%s"\n' % (b"~" * 40, b"~" * 40),
    "only a public key": b'curve\n    public-key = "%s"\n' % (b"a" * 40),
    "too large": b"#" * (1 << 20),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_no_key_file(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.key_secret"
    path.write_bytes(GARBAGE[what])
    path.chmod(0o600)
    with pytest.raises(BadConfig, match=r"a\.key_secret"):
        certificate(path, secret=True)


def test_missing_file_and_folder_are_no_key_files(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.key", tmp_path):
        with pytest.raises(BadConfig, match=str(path)):
            certificate(path)
