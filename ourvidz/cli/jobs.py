"""`ourvidz jobs ls | show | watch`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, lane_wait, options, out, resolve
from ourvidz.cli.help import about
from state import client_names
from state.catalog import shown

if TYPE_CHECKING:
    from datetime import datetime

    from ourvidz.bootstrap import App


def add(app: typer.Typer) -> None:
    failed = "ourvidz jobs ls --status failed --since 1d"
    app.command("ls", **about("ourvidz jobs ls", failed, "ourvidz jobs ls --json | jq -r '.[].id'"))(ls)
    app.command("show", **about("ourvidz jobs show 3f2a", "ourvidz jobs show 3f2a --json | jq .events"))(show)
    app.command("watch", **about("ourvidz jobs watch 3f2a"))(watch)


def ls(
    status: options.Status = None,
    job_type: options.Type = None,
    user: options.User = None,
    error_class: options.ErrorClass = None,
    since: options.Since = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=100_000, help="At most so many.")] = 30,
    as_json: options.Json = False,
) -> None:
    """List jobs, newest first."""
    from ourvidz import bootstrap
    from ourvidz.db import queries

    db = bootstrap.app().database
    rows = queries.jobs(db, resolve.which(db, status, job_type, error_class, user, since), limit)
    if as_json:
        return out.emit([{k: v for k, v in row.items() if k != "now"} for row in rows])
    if not rows:
        return out.say("No such jobs. `ourvidz submit` makes one, `ourvidz demo` one of every kind.", "dim")
    out.table(("id", "type", "status", "submitted", "took", "attempts", "error"), [_line(row) for row in rows], right=("took", "attempts"))


def _line(row: dict[str, Any]) -> list[out.Cell]:
    note = progress(row["progress"]) if row["executor"] else "cancelling" if row["cancel_requested"] else ""
    took = (row["completed_at"] - row["created_at"]).total_seconds() if row["completed_at"] else None
    return [
        out.job_id(row["id"]),
        out.cell(row["job_type"]),
        out.status(row["status"], note),
        out.since(row["created_at"], row["now"]),
        out.lasted(took),
        out.number(row["attempts"]),
        out.cell(row["error_class"] if row["status"] != "completed" else "", "red"),
    ]


def progress(info: dict[str, Any] | None) -> str:
    """The progress that an executor last reported, such as `12/25`; empty if it reported none."""
    if not info:
        return ""
    return f"{info.get('done', 0)}/{info['total']}" if info.get("total") else ""


def show(job: options.JobId, as_json: options.Json = False) -> None:
    """Show one job: what was asked, what it made, and all that happened."""
    from ourvidz import bootstrap
    from ourvidz.db import queries

    app = bootstrap.app()
    row = resolve.job(app.database, job)
    asked = queries.details(app.database, str(row["id"]), resolve.actor())
    made = with_files(app, queries.artifacts(app.database, [row["id"]]))
    events = queries.timeline(app.database, [row["id"]])
    now = row.pop("now")
    next_ = resolve.allowed(row, preview=queries.awaits_approval(app.database, str(row["id"])))
    if as_json:
        return out.emit(row | asked | {"allowed": next_, "artifacts": made, "events": events})
    head = out.status(row["status"])
    if out.stdout().is_terminal:
        out.stdout().print(f"[bold]{row['job_type']}[/]  [{head.style}]{head.shown}[/]  [dim]{row['id']}[/]")
    else:
        out.fields([("id", str(row["id"])), ("type", row["job_type"]), ("status", row["status"])])
    out.fields([*_facts(row, asked, now, queries.ahead(app.database, str(row["id"]))), ("next", ", ".join(next_) or "nothing may follow")])
    print_artifacts(made)
    _print_timeline(events)


def _facts(row: dict[str, Any], asked: dict[str, Any], now: datetime, ahead: int | None) -> list[tuple[str, str]]:
    chosen = dict(asked.get("settings") or {})
    references = chosen.pop("references", {})
    took = f", took {formatting.duration((row['completed_at'] - row['created_at']).total_seconds())}" if row["completed_at"] else ""
    attempts = [f"{row['attempts']:,}"]
    attempts += [formatting.count(row[name], one, name) for name, one in (("errors", "error"), ("crashes", "crash")) if row[name]]
    error = ": ".join(part for part in (row["error_class"], asked.get("error_message")) if part)
    final = " (final: no retry may follow)" if row["final"] else ""
    return [
        ("submitted", f"{row['created_at']:%-d %b %Y %H:%M:%S} UTC ({formatting.ago(row['created_at'], now)}){took}"),
        ("waiting", f"{formatting.count(ahead, 'job')} ahead in lane {row['lane']}" if ahead is not None else ""),
        ("executor", f"{row['executor']} {progress(row['progress'])}".strip() if row["executor"] else ""),
        ("attempts", ", ".join(attempts)),
        ("error", error + final if row["status"] != "completed" else ""),
        ("user", str(row["user_id"])),
        ("settings", _chosen(chosen)),
        *((slot, shown(address)) for slot, address in references.items()),
        *(("not used", f"{aside['field']}: {client_names.REASONS[aside['reason']]}") for aside in asked.get("set_aside") or ()),
        ("prompt", asked.get("prompt") or "(erased)"),
        ("negative", asked.get("negative_prompt") or ""),
        ("enhanced", asked.get("enhanced_prompt") or ""),
    ]


def _chosen(s: dict[str, Any]) -> str:
    size = f"{s.pop('width')}×{s.pop('height')}" if "width" in s and "height" in s else ""
    frames = f"{s.pop('frames')} frames at {s.pop('fps')}/s" if "fps" in s and "frames" in s else ""
    parts = [f"{s.pop('steps', '?')} steps", size, frames]
    # Defaults are not shown.
    usual = {"images": 1, "frames": 1, "reference_fallback": False, "on_enhance_failure": "continue"}
    parts += [f"{k.replace('_', ' ')} {v:g}" if isinstance(v, float) else f"{k.replace('_', ' ')} {v}"
              for k, v in s.items() if k != "frames_asked" and usual.get(k) != v]  # fmt: skip
    return " · ".join(p for p in parts if p)


def with_files(app: App, artifacts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Set `file` on each: its path in the folder that stands in for the buckets, or bucket/path with Supabase (`ourvidz buckets link` turns
    that into a URL); None until it is uploaded."""
    for a in artifacts:
        address = f"{a['bucket']}/{a['path']}"
        a["file"] = (address if app.config.supabase else str(app.config.storage / address)) if a["uploaded_at"] else None
    return artifacts


def print_artifacts(artifacts: list[dict[str, Any]]) -> None:
    """Print files under their folder, so that no path wraps; into a pipe, whole paths."""
    folders: dict[str, list[list[out.Cell]]] = {}
    for a in artifacts:
        folder, _, name = (a["file"] or f"not uploaded yet/{a['path'].rpartition('/')[2]}").rpartition("/")
        size = f"{a['width']}×{a['height']}"
        folders.setdefault(folder, []).append([
            out.Cell(name, a["file"] or ""),
            out.cell(a["kind"]),
            out.Cell(f"{size}, {a['frames']} frames" if a["frames"] else size, size.replace("×", "x")),
            out.Cell(formatting.size(a["bytes"]), str(a["bytes"])),
            out.Cell(f"seed {a['seed']}", str(a["seed"]), "dim"),
        ])  # fmt: skip
    if folders:
        out.heading("Artifacts")
    for folder, rows in folders.items():
        if out.stdout().is_terminal:
            out.stdout().print(f"  {folder}", style="dim", soft_wrap=True, markup=False)
        out.table((), rows, indent=4)


def _print_timeline(events: list[dict[str, Any]]) -> None:
    out.heading("Timeline")
    rows = [
        [
            out.number(e["version"], "dim"),
            out.Cell(
                f"+{formatting.duration(e['since_submit'].total_seconds())}" if e["since_submit"] else "",
                out.plain(e["occurred_at"]),
                "dim",
            ),
            out.cell(e["type"], out.STATUS_STYLE.get(e["to_status"], "") if e["from_status"] != e["to_status"] else ""),
            out.Cell(f"→ {e['to_status']}" if e["from_status"] != e["to_status"] else "", e["to_status"], "dim"),
            out.lasted(e["lasted"].total_seconds()) if e["lasted"] is not None else out.Cell(""),
            out.cell(e["actor"], "dim"),
            out.Cell(said if (said := remark(e)) not in e["actor"] else "", "", "dim"),
        ]
        for e in events
    ]
    out.table(("#", "at", "event", "", "then", "by", ""), rows, right=("#", "then"), indent=2)


def remark(e: dict[str, Any]) -> str:
    """A short note for display, taken from an event's data."""
    data = e["data"]
    picks = {
        "claimed": "executor", "retry_scheduled": "class", "failed": "class", "lease_expired": "cause", "snoozed": "reason",
        "enhancement_skipped": "reason", "reference_skipped": "reference", "generation_repeated": "reason", "generation_started": "device",
        "rerouted": "job_type",
    }  # fmt: skip
    if e["type"] in ("artifact_generated", "artifact_uploaded"):
        return f"{data['kind']} {data['index']}"
    return str(data.get(picks.get(e["type"], ""), ""))


def watch(job: options.JobId, patience: lane_wait.Patience = lane_wait.DEFAULT, as_json: options.Json = False) -> None:
    """Follow a job until it ends; exit 1 when it does not complete."""
    from ourvidz import bootstrap
    from ourvidz.cli import live

    limit = lane_wait.seconds(patience)

    app = bootstrap.app(patience=math.inf)
    row = live.follow(app.database, str(live.answered(app.database, lambda: resolve.job(app.database, job))["id"]), limit)
    live.finish(app, row, as_json=as_json)
