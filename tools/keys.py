"""``scout40 keys``: a pair of CURVE keys for feeds, consumers and viewers on other machines."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from scout40.streams.errors import BadConfig
from scout40.tools.command import Task, json_option, print_json

NEXT = """\
{public}   public: give it to the others
{secret}   secret: stays here, mode 600

What next:
  A program that binds (feed; live for its snapshots) needs its own secret key and a folder with
  the public keys *.key of the clients that it serves:
    scout40 feed SOURCE --to tcp://*:5540 --keys {secret} --allow FOLDER_OF_CLIENTS
  A program that connects (live, monitor) needs its own secret key and the public key of the
  server:
    scout40 live tcp://HOST:5540 --keys {secret} --server-key SERVER.key
    scout40 monitor tcp://HOST:5541 --keys {secret} --server-key SERVER.key
"""


@click.command(cls=Task, name="keys")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", required=True, help="Stem of the files: feed, consumer, control_room ...")
@json_option
def command(folder: Path, name: str, json_output: bool) -> None:
    """Make a pair of keys: FOLDER/NAME.key (public) and FOLDER/NAME.key_secret (mode 600).

    Every program that talks to another machine needs a pair of its own; without keys scout40
    stays on the loopback interface. Existing files are never replaced.
    """
    public, secret = make_keys(folder, name)
    if json_output:
        print_json({"public": str(public), "secret": str(secret)})
    else:
        click.echo(NEXT.format(public=public, secret=secret), nl=False)


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """(public, secret) files of a new pair; a new folder gets mode 700.

    BadConfig when a file is there already, or when others may write in the folder.
    """
    from zmq.auth import create_certificates

    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise BadConfig(f"name {name!r}: only letters, digits, '_', '-' and '.', not first")
    public, secret = folder / f"{name}.key", folder / f"{name}.key_secret"
    for path in (public, secret):
        if path.exists() or path.is_symlink():
            raise BadConfig(f"{path}: exists already, and keys are not replaced; choose a --name")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o022:
        raise BadConfig(f"{folder}: others may write in this folder; chmod 700 {folder}")
    before = os.umask(0o077)  # the secret must not be readable by others even for a moment
    try:
        create_certificates(folder, name)
    finally:
        os.umask(before)
    public.chmod(0o644)
    return public, secret
