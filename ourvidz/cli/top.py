"""`ourvidz top`."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import about

if TYPE_CHECKING:
    from ourvidz.db.connection import Database
    from ourvidz.waiting_reports import Troubles

REFRESH = 1.0  # seconds
FAILURES = 5
LEAVE = "q"


def add(app: typer.Typer, panel: str) -> None:
    samples = ("ourvidz top", "ourvidz top --once", "ourvidz top --json | jq '.queue[] | select(.ready > 0)'")
    app.command("top", **about(*samples, panel=panel))(top)


def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once, and leave.")] = False,
    as_json: options.Json = False,
) -> None:
    """Watch executors, queues, pace and failures, live. q quits.

    Reads the database, so it shows the executors of all machines from anywhere; and what parts of this machine wait for.
    """
    from ourvidz import bootstrap
    from ourvidz.cli.top_page import page
    from ourvidz.waiting_reports import Troubles

    app = bootstrap.app()
    db, troubles = app.database, Troubles(app.config.home)
    if as_json:
        return out.emit(figures(db, troubles))
    console = out.stdout()
    if once or not (console.is_terminal and sys.stdin.isatty()):
        return console.print(page(figures(db, troubles), console.width))
    _live(db, troubles)


def figures(db: Database, troubles: Troubles) -> dict[str, Any]:
    """Collect all data that is shown. `troubles` are only those of this machine."""
    from ourvidz.db import fleet, queries, write_check

    depth = {row["lane"]: row for row in queries.queue_depth(db)}
    executors = fleet.executors(db)
    serving = {lane for e in executors if e["alive"] for lane in e["lanes"]}
    idle = {"ready": 0, "scheduled": 0, "held": 0, "waiting_longest_s": None}
    lanes = [
        {"lane": lane, **depth.get(lane, idle), "executors": sum(e["alive"] and lane in e["lanes"] for e in executors)}
        for lane in sorted(serving | set(depth))
    ]
    taken = write_check.look(db)
    return {
        "at": queries.now(db), "takes_writes": taken.taken, "why_not": taken.why or None, "executors": executors, "queue": lanes,
        "pace": fleet.pace(db), "failures": fleet.failures(db, FAILURES),
        "troubles": [{"part": t.part, "said": t.said, "since": datetime.fromtimestamp(t.since, UTC)} for t in troubles.now()],
    }  # fmt: skip


def _live(db: Database, troubles: Troubles) -> None:
    from rich.live import Live

    from ourvidz.cli.top_page import page
    from ourvidz.db.connection import Ambiguous, DatabaseAway

    console, told = out.stdout(), figures(db, troubles)
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        trouble = ""
        while True:
            live.update(page(told, console.width, trouble=trouble, live=True), refresh=True)
            if pressed(REFRESH) in (LEAVE, "Q", "\x1b"):
                return
            try:
                told, trouble = figures(db, troubles), ""
            except (DatabaseAway, Ambiguous) as error:
                trouble = str(error)  # the last figures stay, marked as old
                db.bring_back()


@contextmanager
def _keys() -> Iterator[Any]:
    """Read single keys without echo, and restore the terminal afterwards. `pressed(seconds)` waits so long for one."""
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    def pressed(seconds: float) -> str:
        ready = select.select([fd], [], [], seconds)[0]
        if not ready:
            return ""
        try:
            return os.read(fd, 32).decode(errors="replace")[:1] or LEAVE
        except OSError:
            return LEAVE  # the terminal was closed

    tty.setcbreak(fd, termios.TCSADRAIN)  # keeps what was already typed
    try:
        yield pressed
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
