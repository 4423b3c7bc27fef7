"""`ourvidz deliver run | ls | redeliver`."""

from __future__ import annotations

import logging
import math
import signal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, options, out, resolve
from ourvidz.cli.help import about

if TYPE_CHECKING:
    from ourvidz.bootstrap import App
    from ourvidz.db.connection import Database
    from ourvidz.removals import Rounds

Dead = Annotated[bool, typer.Option("--dead", help="Those that ran out of tries.")]
OfJob = Annotated[str | None, typer.Option("--job", metavar="ID", help="Those about this job.")]
STYLE = {"delivered": "green", "waiting": "cyan", "dead": "red"}


def add(app: typer.Typer) -> None:
    app.command("run", **about("ourvidz deliver run", "ourvidz deliver run --once"))(run)
    app.command("ls", **about("ourvidz deliver ls", "ourvidz deliver ls --failed", "ourvidz deliver ls --job 3f2a --json"))(ls)
    app.command("redeliver", **about("ourvidz deliver redeliver 9c41", "ourvidz deliver redeliver --dead --yes"))(redeliver)


def run(once: Annotated[bool, typer.Option("--once", help="Leave when nothing is due.")] = False) -> None:
    """Tell receivers of jobs: send what waits in the outbox. And delete the objects of what users deleted from their libraries,
    and move away those of what was taken down.

    Each message is signed, and sent again for a day until it is taken. Several may run at once; `ourvidz up` runs one. With SUPABASE_URL
    and CALLBACK_SECRET set, the project's function job-callback is a receiver.
    """
    from contextlib import nullcontext

    from ourvidz import bootstrap, liveness, removals
    from ourvidz.cli import executor
    from ourvidz.delivery.deliverer import Deliverer
    from ourvidz.delivery.receivers import SECRET, follow_environment
    from state.errors import InvalidJob

    log = logging.getLogger("ourvidz.deliver")
    with executor.told(logging.INFO), executor.own_signals():
        app = bootstrap.app(patience=0.0 if once else math.inf)
        signs = bool(app.keyring.keys(SECRET))  # raises BadSecret before anything starts
        database = app.database
        try:
            follow = partial(follow_environment, database, app.config.supabase_url, signs=signs)
            if said := database.patiently(follow, patience=app.patience):
                log.info(said)
        except InvalidJob as error:
            log.error("job-callback of SUPABASE_URL is not told of jobs: %s", error)
        deliverer = Deliverer(database, app.keyring, beat=liveness.beat)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: deliverer.stop())
        log.info("The deliverer is at work.")
        objects = _objects(app)
        with nullcontext() if once else removals.running(*objects):
            deliverer.run(once=once)
        moved = sum(one.round() for one in objects) if once else 0
    if once:
        out.say(f"{formatting.count(deliverer.sent, 'message')} delivered, {deliverer.failed:,} to be tried again or dead.", "dim")
        out.say(f"{formatting.count(moved, 'object')} of outputs that were deleted or taken down removed.", "dim")


def _objects(app: App) -> list[Rounds]:
    """Empty if the store cannot be opened here: messages are still delivered, and another machine handles the objects."""
    from ourvidz.quarantine import Quarantine
    from ourvidz.removals import Remover
    from ourvidz.storage.base import StorageError

    all_here = app.config.supabase is not None or app.embedded
    try:
        return [Quarantine(app.database, app.store, all_here=all_here), Remover(app.database, app.store, all_here=all_here)]
    except StorageError as error:
        logging.getLogger("ourvidz.removals").error("Objects of removed and hidden outputs stay where they are: %s", error)
        return []


def ls(
    failed: Annotated[bool, typer.Option("--failed", help="Those whose last try failed.")] = False,
    dead: Dead = False,
    job: OfJob = None,
    to: Annotated[str | None, typer.Option("--to", metavar="NAME", help="Those for this receiver.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=100_000, help="At most so many.")] = 30,
    as_json: options.Json = False,
) -> None:
    """List messages about jobs, newest first."""
    from ourvidz import bootstrap
    from ourvidz.db import outbox

    db = bootstrap.app().database
    about_job = str(resolve.job(db, job)["id"]) if job else None
    rows = outbox.messages(db, state="dead" if dead else None, failing=failed, job_id=about_job, receiver=to, limit=limit)
    if as_json:
        return out.emit([{k: v for k, v in row.items() if k != "now"} for row in rows])
    if not rows:
        return out.say("No such messages.", "dim")
    out.table(("id", "to", "job", "says", "state", "made", "tries", "next", "last"), [_line(row) for row in rows], right=("tries",))


def _line(row: dict[str, Any]) -> list[out.Cell]:
    return [
        out.job_id(row["id"]),
        out.cell(row["receiver"]),
        out.job_id(row["job_id"]),
        out.cell(row["status"]),
        out.cell(row["state"], STYLE[row["state"]]),
        out.since(row["created_at"], row["now"]),
        out.number(row["attempts"]),
        out.since(row["next_at"] if row["state"] == "waiting" else None, row["now"]),
        out.cell(row["last_error"], "dim"),
    ]


def redeliver(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Messages, by id or its first characters.", show_default=False)
    ] = None,
    dead: Dead = False,
    job: OfJob = None,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Send messages again, with all their tries, whatever became of them.

    They keep their ids: a receiver that had one knows that it did.
    """
    from ourvidz import bootstrap
    from ourvidz.db import outbox

    if bool(ids) + dead + (job is not None) != 1:
        raise out.Problem("Which messages? Give ids, or --dead, or --job ID: one of the three.", 2)
    db = bootstrap.app().database
    if ids:
        found = list(dict.fromkeys(_message(db, one) for one in ids))
    else:
        about_job = str(resolve.job(db, job)["id"]) if job else None
        found = [str(r["id"]) for r in outbox.messages(db, state="dead" if dead else None, job_id=about_job, limit=100_000)]
    if dry_run:
        return (
            out.emit({"dry_run": True, "would": found})
            if as_json
            else out.say(f"Would send {formatting.count(len(found), 'message')} again.")
        )
    if found and not ids:
        out.confirm(f"Send {formatting.count(len(found), 'message')} again?", yes=yes)
    count = outbox.redeliver(db, found)
    if as_json:
        return out.emit({"dry_run": False, "done": found})
    out.say(f"{formatting.count(count, 'message')} will be sent again.", "green" if count else "")
    shut = [r["name"] for r in outbox.receivers(db) if not r["enabled"] and r["waiting"]]
    if shut:
        out.say(f"Disabled, so that theirs wait: {', '.join(shut)}. `ourvidz deliver receivers enable NAME` opens one.", "yellow")


def _message(db: Database, prefix: str) -> str:
    from ourvidz.db import outbox

    return resolve.one("message", db, prefix, outbox.by_prefix, str, "`ourvidz deliver ls` lists them.")
