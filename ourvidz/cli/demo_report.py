"""The demo's output: for a terminal, for a pipe, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ourvidz.cli import formatting, out

if TYPE_CHECKING:
    from ourvidz.cli.demo_jobs import Wish

_ARTIFACT = ("bucket", "path", "file", "sha256", "media_type", "width", "height", "seed")
_EVENT = ("version", "type", "from_status", "to_status", "claim_no", "occurred_at")


def as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    lists = {
        "artifacts": [{k: a[k] for k in _ARTIFACT} for a in row["artifacts"]],
        "events": [{k: e[k] for k in _EVENT} for e in row["events"]],
    }
    return {k: row[k] for k in ("id", "job_type", "status")} | lists


def show(rows: list[dict[str, Any]], titles: Mapping[str, Wish], copies: Mapping[str, list[Path]]) -> None:
    """Print three lines a job on a terminal (title, timeline, files), or one line an event into a pipe."""
    if not out.stdout().is_terminal:
        for row in rows:
            for e in row["events"]:
                seconds = "" if e["lasted"] is None else f"{e['lasted'].total_seconds():.3f}"
                title = titles[str(row["id"])].title
                print(
                    "\t".join([str(row["id"]), title, str(e["version"]), e["type"], e["to_status"], out.plain(e["occurred_at"]), seconds])
                )
        return
    from rich.padding import Padding
    from rich.text import Text

    for row in rows:
        job_id, mark = str(row["id"]), out.status(row["status"])
        total = (row["completed_at"] - row["created_at"]).total_seconds()
        head = f"[{mark.style}]{mark.shown[0]}[/] [bold]{titles[job_id].title}[/]  {formatting.duration(total - row['waited'])}"
        out.stdout().print(f"\n{head}  [dim]{job_id[:8]}, after {formatting.duration(row['waited'])} in the queue[/]")
        out.stdout().print(Padding(Text.assemble(*_timeline(row["events"])), (0, 0, 0, 2)))
        out.stdout().print(Padding(Text("  ".join(map(str, copies[job_id])), style="dim"), (0, 0, 0, 2)))


def _timeline(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Events in order with the time that passed after each; consecutive events of one type are merged."""
    merged: list[tuple[str, int, float, str]] = []
    for e in events:
        seconds = e["lasted"].total_seconds() if e["lasted"] is not None else 0.0
        name, style = e["type"], out.STATUS_STYLE[e["to_status"]] if e["from_status"] != e["to_status"] else ""
        if merged and merged[-1][0] == name:
            _, times, before, style = merged.pop()
            merged.append((name, times + 1, before + seconds, style))
        else:
            merged.append((name, 1, seconds, style))
    parts: list[tuple[str, str]] = []
    for place, (name, times, seconds, style) in enumerate(merged, 1):
        parts.append((name + (f" ×{times}" if times > 1 else ""), style))
        if place < len(merged):
            parts.append((f" {formatting.duration(seconds)} → ", "dim"))
    return parts
