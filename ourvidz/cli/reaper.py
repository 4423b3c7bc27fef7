"""`ourvidz reaper`."""

from __future__ import annotations

import logging
import math
import random
import signal
import time

import typer

from ourvidz.cli.help import about

LONGEST_WAIT = 5.0  # seconds between tries while the database is away
BUSY = 30.0  # seconds of finding another session reaping at every try, before a warning


def add(app: typer.Typer, panel: str) -> None:
    app.command("reaper", **about("ourvidz reaper", "ourvidz reaper &   # on a machine without executors", panel=panel))(reaper)


def reaper() -> None:
    """Give jobs of executors that fell silent to others, and bring up those that are due.

    Executors do it too; this one does it though all of them are dead or busy. `ourvidz up` runs one.
    """
    from ourvidz import bootstrap, liveness
    from ourvidz.cli import executor
    from ourvidz.db.connection import Ambiguous, DatabaseAway
    from ourvidz.db.outages import backoff

    leaving = False

    def leave(*_: object) -> None:
        nonlocal leaving
        leaving = True

    log = logging.getLogger("ourvidz.reaper")
    with executor.told(logging.INFO), executor.own_signals():
        jobs = bootstrap.app(patience=math.inf).jobs
        policy = jobs.policy()
        signal.signal(signal.SIGTERM, leave)
        signal.signal(signal.SIGINT, leave)
        every = policy.control_poll
        log.info("The reaper is at work.")
        wait, busy_since, waits = every, None, backoff(LONGEST_WAIT)
        while not leaving:
            liveness.beat()
            try:
                told = jobs.reap(grace=policy.retake)
                wait, waits = every, backoff(LONGEST_WAIT)
                busy_since = _note_busy(log, bool(told["busy"]), busy_since)
                if told["lapsed"] or told["timed_out"]:
                    log.info("Jobs taken from executors that fell silent: %(lapsed)d; over their time limit: %(timed_out)d.", told)
            except (DatabaseAway, Ambiguous):  # logged by ourvidz.db.connection.Outage
                wait = next(waits)
                jobs.db.bring_back()
            liveness.rest(wait * random.uniform(0.7, 1.0))


def _note_busy(log: logging.Logger, busy: bool, since: float | None) -> float | None:
    """The time since when another session has been reaping at every try, or None if it is not. Logs a warning if it lasts."""
    if not busy:
        return None
    now = time.monotonic()
    if since is not None and now - since > BUSY:
        log.warning(
            "Another session has been reaping for %.0f s, so this one did nothing. Is a transaction stuck? "
            "`select pid, usename, query from pg_stat_activity where query like '%%reap%%'`",
            now - since,
        )
        return now
    return since or now
