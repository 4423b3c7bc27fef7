"""After the switch: what would show that something of the older system was left behind."""

from __future__ import annotations

from collections.abc import Iterator

from ourvidz.checks import Line
from ourvidz.db import legacy
from ourvidz.db.connection import Database
from ourvidz.intake import dead_letters
from ourvidz.intake.message import QUEUES
from ourvidz.intake.upstash import Upstash

LONG = 300.0  # seconds a job may wait for an executor before it is said


def lines(db: Database, redis: Upstash | None) -> Iterator[Line]:
    """Raises `NotOlder` where no switch is known."""
    s = legacy.since_switch(db)
    yield Line(
        "ok",
        "since",
        f"{s['at']:%Y-%m-%d %H:%M} UTC: {s['completed']} completed, {s['failed']} failed, {s['at_work']} at work, {s['waiting']} wait",
    )
    yield Line(
        *(("ok", "executors", f"{s['executors']} at work") if s["executors"] else ("missing", "executors", "none", "Start `ourvidz up`."))
    )
    if s["failed"]:
        yield Line("warn", "failures", str(s["classes"]), "`ourvidz jobs ls --status failed` lists them.")
    if (s["longest"] or 0) > LONG:
        yield Line("warn", "waiting", f"one has been ready for {s['longest']:.0f} s", "`ourvidz top` shows which lane has no executor.")
    if s["unverified"]:
        yield Line(
            "warn", "ages", f"{s['unverified']} jobs wait for an age that nobody has verified", "docs/safety.md says how it is verified."
        )
    yield _count(s["elsewhere"], "messages", "jobs whose message somebody else took", "An older worker still runs: stop it.")
    yield _count(s["older_callbacks"], "callbacks", "jobs that the older job-callback wrote to", "Deploy this program's functions.")
    yield _count(s["behind"], "images", "rows whose job has ended and that do not say so", "`ourvidz audit` looks further.")
    if s["refused"]:
        yield Line("warn", "refusals", f"{s['refused']} messages refused: {s['fields']}", "`ourvidz intake dead ls` lists them.")
    if redis is not None:
        queued = sum(int(n) for n in redis.pipeline([("LLEN", queue) for queue in QUEUES]))
        letters = len(dead_letters.letters(redis, QUEUES))
        yield Line("ok", "redis", f"{queued} messages wait, {letters} dead letters")


def _count(found: int, what: str, words: str, remedy: str) -> Line:
    return Line("missing", what, f"{found} {words}", remedy) if found else Line("ok", what, f"no {words}")
