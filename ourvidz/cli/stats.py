"""`ourvidz stats`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from ourvidz.cli import formatting, jobs, options, out, resolve
from ourvidz.cli.help import about


def add(app: typer.Typer, panel: str) -> None:
    samples = ("ourvidz stats", "ourvidz stats --since 1d", "ourvidz stats --json | jq .queue")
    app.command("stats", **about(*samples, panel=panel))(stats)


def stats(since: options.Since = None, as_json: options.Json = False) -> None:
    """Show what waits, how long jobs take, who works, and what fails."""
    from ourvidz import bootstrap
    from ourvidz.db import queries

    db = bootstrap.app().database
    start = resolve.since(db, since)
    figures: dict[str, Any] = {
        "jobs": queries.statuses(db),
        "queue": queries.queue_depth(db),
        "durations": queries.durations(db, start),
        "executors": [{k: v for k, v in row.items() if k != "alive"} for row in queries.executors(db)],
        "errors": queries.error_classes(db, start),
    }
    if as_json:
        return out.emit(figures)
    _section("jobs", ("status", "jobs"), [[out.status(name), out.number(n)] for name, n in figures["jobs"].items()], "none yet")
    _section("queue", ("lane", "ready", "scheduled", "running", "longest wait"), [_depth(r) for r in figures["queue"]], "empty")
    _section("durations", ("type", "jobs", "p50", "p95", "waiting p50", "generating p50", "generating p95"),
             [_duration(r) for r in figures["durations"]], "no job has completed")  # fmt: skip
    _section("executors", ("name", "host", "lanes", "in memory", "does", "up since"), [_executor(r) for r in figures["executors"]],
             "none alive; `ourvidz worker` starts one")  # fmt: skip
    _section("errors", ("class", "status", "jobs", "latest"), [_error(r, queries.now(db)) for r in figures["errors"]], "none")


def _section(name: str, columns: Sequence[str], rows: list[list[out.Cell]], empty: str) -> None:
    """Print a section. Into a pipe, every line begins with the section's name, for `grep`."""
    if not out.stdout().is_terminal:
        return out.table(("section", *columns), [[out.cell(name), *row] for row in rows])
    if not rows:
        return out.stdout().print(f"\n[bold]{name.capitalize()}[/]  [dim]{empty}[/]")
    out.heading(name.capitalize())
    numbers = {"jobs", "p50", "p95", "waiting p50", "generating p50", "generating p95", "ready", "scheduled", "running", "longest wait"}
    out.table(columns, rows, right=[c for c in columns if c in numbers], indent=2)


def _depth(r: dict[str, Any]) -> list[out.Cell]:
    return [
        out.cell(r["lane"]),
        out.number(r["ready"]),
        out.number(r["scheduled"]),
        out.number(r["held"]),
        out.lasted(r["waiting_longest_s"]),
    ]


def _duration(r: dict[str, Any]) -> list[out.Cell]:
    names = ("total_p50", "total_p95", "queued_p50", "generating_p50", "generating_p95")
    return [out.cell(r["job_type"]), out.number(r["jobs"], "dim"), *(out.lasted(r[name]) for name in names)]


def _executor(r: dict[str, Any]) -> list[out.Cell]:
    info = r["info"] or {}
    doing = " ".join(part for part in (str(info.get("job", ""))[:8], info.get("stage", ""), jobs.progress(info)) if part)
    idle = "draining" if r["state"] == "draining" else "waits"
    return [
        out.cell(r["name"]), out.cell(r["host"], "dim"), out.cell(" ".join(r["lanes"])), out.cell(" ".join(r["resident"]) or "–", "dim"),
        out.cell(doing or idle),
        out.Cell(formatting.duration((r["now"] - r["started_at"]).total_seconds()), out.plain(r["started_at"]), "dim"),
    ]  # fmt: skip


def _error(r: dict[str, Any], now: Any) -> list[out.Cell]:
    return [out.cell(r["error_class"], "red"), out.cell(r["status"]), out.number(r["jobs"]), out.since(r["latest"], now)]
