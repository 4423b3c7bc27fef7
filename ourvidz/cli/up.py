"""`ourvidz up`."""

from __future__ import annotations

import logging
import math
import re
import sys
import time
import zlib
from collections.abc import Callable
from typing import Annotated

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import about

COLOURS = ("cyan", "magenta", "blue", "yellow", "green")


def add(app: typer.Typer, panel: str) -> None:
    samples = (
        "ourvidz up",
        "ourvidz up --split --idle-exit 10m",
        "ourvidz up --enhancer cpu",
        "ourvidz up --dry-run   # which processes that would be",
    )
    app.command("up", **about(*samples, panel=panel))(up)


def up(
    split: Annotated[bool, typer.Option("--split", help="One executor for SDXL and one for Wan, on each GPU.")] = False,
    each: Annotated[int, typer.Option("--executors", metavar="N", min=1, max=32, help="So many on each GPU, or on the CPU.")] = 1,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What their names begin with; else the host's name.")] = None,
    enhancer: Annotated[
        str | None, typer.Option("--enhancer", metavar="DEVICE", help="Run the enhancer too, on this GPU or on the `cpu`.")
    ] = None,
    legacy_queue: Annotated[
        bool, typer.Option("--legacy-queue", help="The intake drains job_queue too; or set OURVIDZ_INTAKE_LEGACY_QUEUE=1.")
    ] = False,
    idle_exit: options.IdleExit = None,
    reopen: Annotated[bool, typer.Option("--reopen", help="Try lanes again that were closed because their model crashed.")] = False,
    dry_run: options.DryRun = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
) -> None:
    """Run this machine: an executor for each GPU, the reaper and the deliverer, started again when they die.

    The intake too, where UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN say which Redis.

    Ctrl-C or SIGTERM once: running jobs are finished first. Twice: they are given back. A third time kills. SIGHUP tries again what was
    given up. Without a GPU one executor runs on the CPU; CUDA_VISIBLE_DEVICES chooses among GPUs.
    """
    seconds = options.seconds(idle_exit, "--idle-exit")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,50}", name):
        raise out.Problem(f"--name: {name[:60]!r} is not a valid name. Use up to 50 letters, digits, dots, dashes and underscores.", 2)
    from ourvidz import bootstrap
    from ourvidz.cli import executor
    from ourvidz.config import config
    from ourvidz.delivery.receivers import SECRET

    executors = executor.found() if dry_run else executor.able("`ourvidz up`")
    bootstrap.app(patience=0.0).keyring.keys(SECRET)  # raises BadSecret before anything starts
    older = legacy_queue or config().ourvidz_intake_legacy_queue
    intake = config().upstash is not None
    lacking = _lacking(intake, dry_run=dry_run)
    how, roster = executors.roster(
        split=split,
        intake=intake and "intake" not in lacking,
        legacy_queue=older,
        deliver="deliverer" not in lacking,
        name=name,
        each=each,
        enhancer=enhancer,
    )
    if dry_run:
        for why in lacking.values():
            out.say(why, "yellow")
        told = [{"name": r.name, "lanes": list(r.lanes), "device": r.device, "command": r.argv()} for r in roster]
        if as_json:
            return out.emit(told)
        rows = [
            [out.cell(r.name), out.cell(" ".join(r.lanes) or "–", "dim"), out.cell("" if r.device is None else f"GPU {r.device}", "dim")]
            for r in roster
        ]
        out.table(("process", "lanes", "on"), rows)
        return out.say(f"Devices: {how}.", "dim")
    app = bootstrap.app(patience=math.inf)
    say = _teller(max(len(r.name) for r in roster))
    with _told(say), executor.own_signals():
        say("up", f"{', '.join(r.name for r in roster)} (devices: {how})")
        for why in lacking.values():
            say("up", why)
        code = executors.supervise(app, roster, name=name, idle_exit=seconds, reopen=reopen, say=say)
    raise typer.Exit(code)


def _lacking(intake: bool, *, dry_run: bool) -> dict[str, str]:
    """Roles that this machine's login may not run, each with the remedy. A dry run starts no server and waits for none."""
    from ourvidz import bootstrap
    from ourvidz.db import logins
    from ourvidz.db.connection import DatabaseAway

    app = bootstrap.app(patience=0.0 if dry_run else math.inf)
    if dry_run and app.embedded:
        return {}  # our login is the owner
    try:
        wanted = ["deliverer", *(["intake"] if intake else [])]
        lacks = app.database.patiently(lambda: logins.lacking(app.database, wanted), patience=app.patience)
    except DatabaseAway as error:
        if not dry_run:
            raise
        out.say(f"Which of these the login may run was not looked at: {error}", "yellow")
        return {}
    return {
        role: f"No {role} is run here: the login in DATABASE_URL is not a member of {logins.ROLES[role]}. "
        f"Another machine may run it (`ourvidz logins add NAME --role {role}`)."
        for role in lacks
    }


def _teller(width: int) -> Callable[[str, str], None]:
    """Return a function that prints `12:04:31 name │ line`, with a colour for each name on a terminal."""
    console = out.stderr()

    def say(name: str, line: str) -> None:
        from rich.text import Text

        stamp = time.strftime("%H:%M:%S")
        colour = "bold" if name == "up" else COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]
        try:
            if console.is_terminal:
                console.print(Text.assemble((f"{stamp} ", "dim"), (name.ljust(width), colour), (" │ ", "dim"), line), soft_wrap=True)
            else:
                sys.stderr.write(f"{stamp} {name.ljust(width)} | {line}\n")
                sys.stderr.flush()
        except OSError:
            return  # the terminal is gone, or the log's disk is full: no reason to stop

    return say


class _told:
    """Print log records of the supervisor's own process as lines of `up`."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._handler = logging.Handler()
        self._handler.emit = lambda record: say("up", record.getMessage())  # type: ignore[method-assign]
        self._log = logging.getLogger("ourvidz")

    def __enter__(self) -> None:
        self._before = self._log.level, self._log.propagate
        self._log.setLevel(logging.INFO)
        self._log.propagate = False
        self._log.addHandler(self._handler)

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self._handler)
        self._log.level, self._log.propagate = self._before
