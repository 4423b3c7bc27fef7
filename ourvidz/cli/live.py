"""Follow a job that runs in another process: its status, its steps if the executor reports them, then its result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from ourvidz.cli import formatting, out

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from ourvidz.bootstrap import App
    from ourvidz.db.connection import Database

POLL = 0.5
T = TypeVar("T")


def bars() -> Bars:
    """The shared progress display: spinner, description, stage, bar, figures, time. On stderr, and removed at the end."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(style="blue"),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[stage]}", style="dim"),
        BarColumn(bar_width=28, style="grey30", complete_style="blue", finished_style="green", pulse_style="grey50"),
        TextColumn("{task.fields[figures]}", style="dim"),
        TimeElapsedColumn(),
        console=out.stderr(),
        transient=True,
    )


def follow(db: Database, job_id: str, patience: float) -> dict[str, Any]:
    """Show the job until it ends; returns its last row. Ctrl-C leaves the job alone. Raises `Problem` if no executor serves its
    lane for `patience` seconds."""
    from ourvidz.cli.lane_wait import Watch
    from ourvidz.db import queries
    from state.machine import ENDED

    told, warned, watch = "", False, Watch(db, patience)
    with bars() as shown:
        task = shown.add_task("", total=None, stage="", figures="")
        while True:
            (row,) = answered(db, lambda: queries.by_ids(db, [job_id]))
            stage, figures, done, total = answered(db, partial(_seen, db, row))
            if not shown.console.is_terminal and stage != told:
                out.say(f"{job_id[:8]}  {row['job_type']}  {stage}")
            told = stage
            shown.update(task, description=f"{job_id[:8]}  {row['job_type']}", stage=stage, figures=figures, completed=done, total=total)
            if row["status"] in ENDED:
                return row
            if answered(db, partial(watch.look, row)) and not warned:
                warned = True
                most = "for ever" if math.isinf(patience) else f"for {formatting.duration(patience)} at most (--patience)"
                said = f"No executor takes jobs of lane {row['lane']} now, so this one waits, {most}. `ourvidz worker` starts one."
                out.say(said, "yellow")
            time.sleep(POLL)


def answered(db: Database, ask: Callable[[], T]) -> T:
    """Retry the read `ask` while the database is away: print that once, then wait until Ctrl-C. Not for writes."""
    from ourvidz.db.connection import Ambiguous, DatabaseAway, DatabaseRefused
    from ourvidz.db.outages import backoff

    said = False
    for delay in backoff():
        try:
            return ask()
        except DatabaseRefused:
            raise
        except (DatabaseAway, Ambiguous) as error:
            if not said:
                said = True
                out.say(f"{str(error).rstrip('.')}. The job is not touched by that; waiting for the database. Ctrl-C leaves.", "yellow")
        time.sleep(delay)
        db.bring_back()
    raise AssertionError("backoff has no end")


def _seen(db: Database, row: dict[str, Any]) -> tuple[str, str, int, int | None]:
    """(stage, figures, done, total) for the progress bar; it pulses if total is None."""
    from ourvidz.db import queries

    if row["executor"] is None:
        ahead = queries.ahead(db, str(row["id"]))
        return row["status"], formatting.count(ahead, "job") + " ahead" if ahead else "", 0, None
    info = row["progress"] or {}
    if row["cancel_requested"]:
        return "cancelling", "", 0, None
    done, total = info.get("done", 0), info.get("total") or None
    return info.get("stage") or row["status"], f"{done}/{total}" if total else "", done, total


def finish(app: App, row: dict[str, Any], *, as_json: bool, open_it: bool = False, created: bool | None = None) -> None:
    """Print the result of an ended job: files on stdout, the rest on stderr. Exits with 1 if it did not complete."""
    from ourvidz.cli.jobs import with_files
    from ourvidz.db import queries

    made = answered(app.database, lambda: with_files(app, queries.artifacts(app.database, [row["id"]])))
    asked = answered(app.database, lambda: queries.details(app.database, str(row["id"])))
    took = (row["completed_at"] - row["created_at"]).total_seconds()
    mark = out.status(row["status"])
    out.say(f"{mark.shown} {row['job_type']} {str(row['id'])[:8]} in {formatting.duration(took)}", mark.style)
    if as_json:
        fact = {} if created is None else {"created": created}
        out.emit(
            fact
            | {k: row[k] for k in ("id", "job_type", "status", "error_class")}
            | {"error": asked.get("error_message"), "artifacts": made}
        )
    else:
        for a in made:
            if a["file"] and a["kind"] != "thumbnail":
                print(a["file"])
    if row["status"] == "completed":
        if open_it and made and made[0]["file"]:
            first = made[0]
            typer.launch(app.store.sign(first["bucket"], first["path"], 3600) if app.config.supabase else first["file"])
        return
    if row["status"] == "failed":
        advice = "no retry may follow" if row["final"] else f"`ourvidz jobs retry {str(row['id'])[:8]}` starts it anew"
        out.say(f"{row['error_class']}: {asked.get('error_message') or 'no message'} ({advice})", "red")
    raise typer.Exit(1)
