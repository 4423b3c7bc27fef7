"""`ourvidz demo`: one job of every kind, from submit to output file, on this machine alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, options, out, resolve
from ourvidz.cli.demo_jobs import Wish, wishes
from ourvidz.cli.help import about

if TYPE_CHECKING:
    from ourvidz.bootstrap import App
    from ourvidz.progress import Progress

ALBUM = Path("ourvidz-demo")


PATIENCE = 60.0  # seconds to wait while no executor serves a remaining lane (its models do not load)


def add(app: typer.Typer, panel: str) -> None:
    samples = ("ourvidz demo", "ourvidz demo --json > demo.json", "ourvidz demo --home /tmp/try --out /tmp/try/pictures")
    app.command("demo", **about(*samples, panel=panel))(demo)


def demo(
    as_json: options.Json = False,
    home: Annotated[
        Path | None, typer.Option("--home", metavar="DIR", help="Where database, models and buckets go; else OURVIDZ_HOME, or ~/.ourvidz.")
    ] = None,
    album: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where copies of the pictures go, under names that can be read.")
    ] = ALBUM,
    keep: Annotated[bool, typer.Option("--keep", help="Leave an earlier demo's pictures as they are; write beside them.")] = False,
) -> None:
    """Run one job of every kind, and show what happened to each.

    Needs nothing: it starts a Postgres of its own, makes tiny models, and runs the jobs here. The models know coloured shapes and draw
    nothing else; everything else is real. DATABASE_URL and OURVIDZ_MODELS are left alone. When for a minute nothing here can run a job
    that is left, it says so, and exits with 1.
    """
    from ourvidz.bootstrap import LOCAL_USER
    from ourvidz.cli import demo_report, executor, pictures
    from ourvidz.cli import output_folder as albums
    from ourvidz.lifecycle import NewJob
    from state.catalog import PNG

    executors = executor.able("The demo")
    folder = albums.make(album, keep)
    app = _app(home)
    out.say(f"Postgres, models and buckets: {app.config.home}", "dim")
    version = _version(app)
    out.say(f"Postgres {version} is up, its schema in place.", "dim")
    out.say(executors.make_tiny(app.config.models, lambda line: out.say(line, "dim")), "dim")

    drawn = executors.draw_references()
    kept = {name: pictures.keep(app.store, LOCAL_USER, pictures.Picture(data, PNG)) for name, data in drawn.items()}
    pictures.attest(app.database, LOCAL_USER, list(drawn.values()), agreed=True)  # they show no person
    asked = wishes()
    new = [NewJob(LOCAL_USER, w.job_type, w.prompt, settings=w.given(kept)) for w in asked]
    titles = {done.id: wish for done, wish in zip(app.jobs.submit_many(new, actor=resolve.actor()), asked, strict=True)}
    started = time.monotonic()
    try:
        _run(app, titles)
    except KeyboardInterrupt:
        _give_up(app, titles)
        raise
    rows = _results(app, titles)
    copies = albums.fill(executors, folder, rows, titles, drawn)
    if as_json:
        out.emit({"jobs": [demo_report.as_json(row) for row in rows]})
    else:
        demo_report.show(rows, titles, copies)
    _closing(app, rows, folder, time.monotonic() - started, home)
    if any(row["status"] != "completed" for row in rows):
        raise typer.Exit(1)


def _app(home: Path | None) -> App:
    """An App on the embedded database; the environment's database, models and project are ignored."""
    from ourvidz.bootstrap import App
    from ourvidz.config import Config, config

    given = config()
    return App(Config(database_url=None, ourvidz_models=None, supabase_url=None, ourvidz_home=home or given.home))


def _version(app: App) -> str:
    from ourvidz.db import queries

    return queries.server_version(app.database)


def _run(app: App, titles: Mapping[str, Wish]) -> None:
    """Run an executor here until all jobs have ended. On stderr: a bar for all, one for the running job, and a line for each ended job."""
    from ourvidz.cli import executor, live
    from state.machine import ENDED

    longest = max(len(w.title) for w in titles.values())
    with live.bars() as shown:
        all_of_them = shown.add_task("all jobs".ljust(longest), total=len(titles), stage="", figures=f"0/{len(titles)}")
        current = shown.add_task("", total=None, stage="", figures="", visible=False)
        begun: dict[str, float] = {}

        def observe(p: Progress) -> None:
            if p.job_id not in titles:
                return shown.update(all_of_them, stage=f"first, an older {p.job_type}")
            title = titles[p.job_id].title.ljust(longest)
            if p.job_id not in begun:
                begun[p.job_id] = time.monotonic()
                shown.reset(current, description=title, visible=True, stage="", figures="")
                shown.update(all_of_them, stage="")
            if p.note:
                out.say(f"  {p.note}", "dim")
            figures = f"{p.done}/{p.total}" if p.total else ""
            shown.update(current, stage=f"{p.stage:<11}", figures=figures, completed=p.done, total=p.total or None)
            if p.stage in ENDED:
                shown.advance(all_of_them)
                ended = round(shown.tasks[all_of_them].completed)
                shown.update(all_of_them, figures=f"{ended}/{len(titles)}")
                shown.update(current, visible=False)
                mark, seconds = out.status(p.stage), formatting.duration(time.monotonic() - begun[p.job_id])
                out.stderr().print(f"[{mark.style}]{mark.shown[0]}[/] {title}  [dim]{seconds:>8}[/]")

        executor.work_until(app, list(titles), observe, patience=PATIENCE)


def _give_up(app: App, titles: Mapping[str, Wish]) -> None:
    """After Ctrl-C: cancel the jobs that have not ended."""
    from state.errors import IllegalTransition

    for job_id in titles:
        with suppress(IllegalTransition):
            app.jobs.cancel(job_id, actor=resolve.actor())
    out.say("Stopped. The demo's jobs that had not ended were cancelled.", "yellow")


def _results(app: App, titles: Mapping[str, Wish]) -> list[dict[str, Any]]:
    """The jobs in submit order, each with its artifacts and events."""
    from ourvidz.cli.jobs import with_files
    from ourvidz.db import queries

    rows = {str(row["id"]): row | {"artifacts": [], "events": []} for row in queries.by_ids(app.database, list(titles))}
    for job_id, row in rows.items():
        row["enhanced_prompt"] = queries.details(app.database, job_id).get("enhanced_prompt")
    for a in with_files(app, queries.artifacts(app.database, list(titles))):
        rows[str(a["job_id"])]["artifacts"].append(a)
    for e in queries.timeline(app.database, list(titles)):
        rows[str(e["job_id"])]["events"].append(e)
    for job_id, seconds in queries.waited(app.database, list(titles)).items():
        rows[job_id]["waited"] = seconds
    return [rows[job_id] for job_id in titles]


def _closing(app: App, rows: list[dict[str, Any]], folder: Path, seconds: float, home: Path | None) -> None:
    done = sum(row["status"] == "completed" for row in rows)
    prefix = f"OURVIDZ_HOME={app.config.home} " if home else ""
    out.say(
        f"\n{done} of {formatting.count(len(rows), 'job')} completed in {formatting.duration(seconds)}.",
        "green" if done == len(rows) else "red",
    )
    out.say(f"  Pictures   {folder}/  (contact-sheet.png shows them all, with their prompts)")
    out.say(f"  Buckets    {app.config.storage}/")
    out.say(f"  Next       {prefix}ourvidz jobs ls")
    out.say(f"             {prefix}ourvidz jobs show {str(rows[0]['id'])[:8]}")
    out.say(f'             {prefix}ourvidz submit image_fast --prompt "a blue square on a yellow background" --wait --open')
