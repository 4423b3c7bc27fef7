"""`ourvidz intake`: drain Upstash into Postgres, and manage dead letters."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, options, out
from ourvidz.cli.help import Sections, about

if TYPE_CHECKING:
    from ourvidz.intake.dead_letters import Letter
    from ourvidz.intake.upstash import Upstash

Older = Annotated[bool, typer.Option("--legacy-queue", help="Also job_queue, which older senders push to.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Dead letters, by the first characters of their id.", show_default=False)
]
Every = Annotated[bool, typer.Option("--all", help="Every one of them.")]
Reason = Annotated[str | None, typer.Option("--reason", metavar="REASON", help="Only those refused for it: bad_field, OV009 …")]


def add(app: typer.Typer, panel: str) -> None:
    ours = typer.Typer(cls=Sections, rich_markup_mode=None, help="Drain Upstash's queues into Postgres.")
    ours.command("run", **about("ourvidz intake run", "ourvidz intake run --once --json", "ourvidz intake run --legacy-queue"))(run)
    ours.command("stats", **about("ourvidz intake stats", "ourvidz intake stats --days 30 --json"))(stats)
    dead_letters = typer.Typer(cls=Sections, rich_markup_mode=None, help="Messages that make no job: list them, put them back, drop them.")
    dead_letters.command("ls", **about("ourvidz intake dead ls", "ourvidz intake dead ls --reason bad_field"))(ls)
    dead_letters.command("retry", **about("ourvidz intake dead retry 3f2a", "ourvidz intake dead retry --reason OV014 --yes"))(retry)
    dead_letters.command("drop", **about("ourvidz intake dead drop 3f2a", "ourvidz intake dead drop --all --dry-run"))(drop)
    ours.add_typer(dead_letters, name="dead")
    app.add_typer(ours, name="intake", rich_help_panel=panel)


def run(
    once: Annotated[bool, typer.Option("--once", help="Until the queues are empty, then leave.")] = False,
    legacy_queue: Older = False,
    as_json: options.Json = False,
) -> None:
    """Move messages from Redis to Postgres, for as long as it runs.

    Nothing is lost or doubled, whatever fails in between; `ourvidz up` runs one where Upstash is configured.
    """
    from ourvidz import bootstrap, liveness
    from ourvidz.cli import executor
    from ourvidz.config import config
    from ourvidz.db.intake import intake_users
    from ourvidz.intake.drain import Drainer, drain
    from ourvidz.waiting_reports import Troubles

    leaving = False

    def leave(*_: object) -> None:
        nonlocal leaving
        leaving, database.longest_wait = True, 0.0  # uncommitted messages stay in the processing list

    def wait(seconds: float) -> None:
        until = time.monotonic() + seconds
        while not leaving and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            liveness.beat()

    redis = _redis()
    with executor.told(logging.INFO), executor.own_signals():
        app = bootstrap.app(patience=0.0 if once else math.inf)
        database = app.database
        users = database.patiently(lambda: intake_users(database), patience=app.patience)
        # Only now: until here the default handlers can end a wait for the database.
        signal.signal(signal.SIGTERM, leave)
        signal.signal(signal.SIGINT, leave)
        drainer = Drainer(database, redis, _queues(legacy_queue), shared=lambda: intake_users(database))
        alone = "" if users is None else f" for {formatting.count(len(users), 'user')} alone (`ourvidz cutover share`)"
        out.say(f"Draining {', '.join(drainer.queues)}{alone}.", "dim")
        if once:
            while not leaving and drainer.once():
                liveness.beat()
        else:
            drain(drainer, lambda: leaving, pulse=liveness.beat, wait=wait, troubles=Troubles(config().home))
    if as_json:
        out.emit(drainer.totals)
    else:
        out.say(", ".join(f"{n} {outcome}" for outcome, n in sorted(drainer.totals.items())) or "Nothing came.")


def stats(
    days: Annotated[int, typer.Option("--days", min=1, help="Of so many days back.")] = 7,
    as_json: options.Json = False,
) -> None:
    """Count what came: made a job, joined its row, came again, was refused and why."""
    from ourvidz import bootstrap
    from ourvidz.db import intake

    rows = intake.counts(bootstrap.app().database, days)
    if as_json:
        return out.emit(rows)
    if not rows:
        return out.say(f"Nothing came in {formatting.count(days, 'day')}.", "dim")
    names = ("day", "queue", "outcome", "reason")
    out.table([*names, "messages"], ([*(out.cell(row[name]) for name in names), out.number(row["n"])] for row in rows), right=("messages",))


def ls(reason: Reason = None, as_json: options.Json = False) -> None:
    """List the dead letters. What a person wrote is not shown."""
    letters = _letters(_redis(), reason)
    if as_json:
        out.emit([letter.shown() for letter in letters])
        return
    rows = (
        [out.cell(letter.id), out.cell(letter.queue), out.cell(letter.at), out.cell(letter.reason, "red"), out.cell(letter.detail)]
        for letter in letters
    )
    out.table(["id", "queue", "since", "reason", "what is wrong"], rows)
    if not letters:
        out.say("No dead letters.", "dim")


def retry(
    ids: Ids = None, reason: Reason = None, everything: Every = False, dry_run: options.DryRun = False, yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Put dead letters back into their queues."""
    from ourvidz.intake import dead_letters

    _each("put back", dead_letters.retry, dead_letters.may_retry, ids, reason, everything, dry_run, yes, as_json)


def drop(
    ids: Ids = None, reason: Reason = None, everything: Every = False, dry_run: options.DryRun = False, yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Forget dead letters for good."""
    from ourvidz.intake import dead_letters

    _each("dropped", dead_letters.drop, lambda _: True, ids, reason, everything, dry_run, yes, as_json)


def _each(
    done: str, act: Callable[[Upstash, Letter], bool], may: Callable[[Letter], bool],
    ids: Sequence[str] | None, reason: str | None, everything: bool, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    if not ids and not reason and not everything:
        raise out.Problem("Which dead letters? Give ids, --reason, or --all. `ourvidz intake dead ls` lists them.", 2)
    redis = _redis()
    chosen = _chosen(redis, ids, reason)
    able = [letter for letter in chosen if may(letter)]
    if left := len(chosen) - len(able):
        out.say(f"{formatting.count(left, 'dead letter')} that no message can be made out in would stay: it can only be dropped.", "yellow")
    if dry_run:
        return out.emit(_told(able, 0)) if as_json else out.say(f"{formatting.count(len(able), 'dead letter')} would be {done}.")
    if chosen and not ids:
        out.confirm(f"{formatting.count(len(chosen), 'dead letter')} will be {done}.", yes=yes)
    count = sum(act(redis, letter) for letter in chosen)
    if as_json:
        return out.emit(_told(chosen, count))
    out.say(f"{count:,} {done}." + (f" {len(chosen) - count:,} were gone already." if count < len(chosen) else ""))


def _chosen(redis: Upstash, ids: Sequence[str] | None, reason: str | None) -> list[Letter]:
    found = [letter for letter in _letters(redis, reason) if not ids or any(letter.id.startswith(start) for start in ids)]
    if missing := [start for start in ids or () if not any(letter.id.startswith(start) for letter in found)]:
        raise out.Problem(f"There is no dead letter {missing[0][:40]!r}. `ourvidz intake dead ls` lists them.")
    return found


def _told(chosen: Sequence[Letter], done: int) -> dict[str, Any]:
    return {"letters": [letter.id for letter in chosen], "done": done}


def _redis() -> Upstash:
    from ourvidz.config import config
    from ourvidz.intake.upstash import Upstash

    found = config().upstash
    if found is None:
        raise out.Problem("Which Redis? Set UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN.", 2)
    return Upstash(*found)


def _queues(older: bool) -> tuple[str, ...]:
    from ourvidz.intake.message import LEGACY_QUEUE, QUEUES

    return (*QUEUES, LEGACY_QUEUE) if older else QUEUES


def _letters(redis: Upstash, reason: str | None) -> list[Letter]:
    from ourvidz.intake import dead_letters

    return [letter for letter in dead_letters.letters(redis, _queues(True)) if reason in (None, letter.reason)]
