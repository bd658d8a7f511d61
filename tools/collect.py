"""``scout40 collect``: what several consumers of shared feeds did together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scout40.tools.command import EXIT_UNBALANCED, Task, json_option, print_json

if TYPE_CHECKING:
    from scout40.streams.snapshot import Snapshot


@click.command(cls=Task, name="collect")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@json_option
def command(folders: tuple[str, ...], json_output: bool) -> None:
    """Add up the consumers whose output folders are FOLDER (or their status.json).

    For feeds that several consumers share (shared = true in the pipeline): what each took, what
    the feed sent in that time, and what is therefore lost. Exit code 3 when packets are missing
    although nobody counted them.
    """
    from scout40.streams.snapshot import MAX_BYTES, from_json

    snapshots = []
    for name in folders:
        place = Path(name)
        place = place / "status.json" if place.is_dir() else place
        with place.open("rb") as stream:
            snapshots.append(from_json(stream.read(MAX_BYTES + 1), str(place)))
    found = collect(snapshots)
    if json_output:
        print_json(found.as_dict())
    else:
        show(found, folders)
    raise SystemExit(0 if found.balanced else EXIT_UNBALANCED)


@dataclass(frozen=True)
class FeedSum:
    """One feed; numbers are packets.

    sent: since the first consumer came until the last one heard of it. taken: by all consumers.
    lost: sent and not taken. dropped: by the feed, since it began.
    """

    feed: str
    source: int
    sent: int
    taken: int
    lost: int
    dropped: int
    consumers: int


@dataclass(frozen=True)
class Collected:
    """accounts: unit -> in, out, dropped, bad, pending of all; rates: algorithm -> crossings."""

    feeds: tuple[FeedSum, ...]
    accounts: dict[str, Counter[str]]
    rates: dict[str, int]
    orbits: int
    menus: tuple[str, ...]
    consumers_balanced: bool

    @property
    def balanced(self) -> bool:
        """Each consumer's ledger balances, and no feed lost a packet between them."""
        return self.consumers_balanced and not any(feed.lost for feed in self.feeds)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "balanced": self.balanced,
            "feeds": [vars(feed) for feed in self.feeds],
            "accounts": {unit: dict(account) for unit, account in self.accounts.items()},
            "rates": self.rates,
            "orbits": self.orbits,
            "menus": list(self.menus),
        }


def collect(snapshots: Sequence[Snapshot]) -> Collected:
    """The sum of the newest snapshots of several consumers."""
    accounts: dict[str, Counter[str]] = {}
    rates: Counter[str] = Counter()
    for snapshot in snapshots:
        for unit, account in snapshot.accounts.items():
            total = accounts.setdefault(unit, Counter())
            total.update({name: account[name] for name in ("in", "out", "pending")})
            total.update({name: sum(account[name].values()) for name in ("dropped", "bad")})
        rates.update({rate.name: rate.count for rate in snapshot.rates})
    feeds = sorted({source.feed for one in snapshots for source in one.sources if source.feed})
    return Collected(
        tuple(_feed(feed, snapshots) for feed in feeds),
        accounts,
        dict(rates),
        sum(snapshot.orbits for snapshot in snapshots),
        tuple(dict.fromkeys(snapshot.menu for snapshot in snapshots)),
        all(snapshot.balanced for snapshot in snapshots),
    )


def _feed(feed: str, snapshots: Sequence[Snapshot]) -> FeedSum:
    seen = [source for one in snapshots for source in one.sources if source.feed == feed]
    taken = sum(source.packets for source in seen)
    # Each consumer knows how much the feed had sent when it heard of it last.
    sent = max(one.before + one.packets + one.elsewhere + one.lost for one in seen)
    sent -= min(one.before for one in seen)
    dropped = max(one.dropped_by_feed for one in seen)
    return FeedSum(feed, seen[0].source, sent, taken, max(0, sent - taken), dropped, len(seen))


def show(found: Collected, folders: Sequence[str]) -> None:
    """Feeds, then the accounts of all consumers together."""
    from rich.text import Text

    from scout40.tools.show import Grid, console, number

    screen = console()
    heads = ("consumers", "sent", "taken", "lost", "dropped by feed")
    grid = Grid([("feed", "left"), *((head, "right") for head in heads), ("", "right")])
    for feed in found.feeds:
        verdict = Text("LOST", "bold red") if feed.lost else Text("complete", "green")
        values = (feed.consumers, feed.sent, feed.taken, feed.lost, feed.dropped)
        grid.add(f"source {feed.source} {feed.feed}", *(number(value) for value in values), verdict)
    screen.print(grid.table(screen.width))
    names = ("in", "out", "dropped", "bad", "pending")
    grid = Grid([("", "left"), *((name, "right") for name in names)])
    for unit, account in found.accounts.items():
        grid.add(unit, *(number(account[name]) for name in names))
    screen.print(grid.table(screen.width))
    for name, count in sorted(found.rates.items(), key=lambda item: -item[1])[:5]:
        screen.print(Text(f"  {name}: {number(count)} crossings", "dim"))
    if not found.consumers_balanced:
        screen.print(Text("the ledger of a consumer does not balance", "bold red"))
    screen.print(f"{len(folders)} consumers, {number(found.orbits)} orbits decided")
