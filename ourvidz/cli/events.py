"""`ourvidz events tail`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import jobs, out, resolve
from ourvidz.cli.help import Sections, about

if TYPE_CHECKING:
    from ourvidz.db.queries import Cursor

POLL, PAGE = 0.5, 1_000


def add(app: typer.Typer, panel: str) -> None:
    events = typer.Typer(cls=Sections, rich_markup_mode=None, help="The stream of everything that happened.")
    tailing = about(
        "ourvidz events tail --follow",
        "ourvidz events tail --job 3f2a",
        "ourvidz events tail --since 1h --json | jq -r .type | sort | uniq -c",
        "ourvidz events tail --follow --json --after 812:4077   # from where a reader stopped",
    )
    events.command("tail", **tailing)(tail)
    # Typer drops the name of a group's only command unless the group has a callback: `events tail`, not `events`.
    events.callback()(lambda: None)
    app.add_typer(events, name="events", rich_help_panel=panel)


def tail(
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="Only this job's.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those to come, until Ctrl-C.")] = False,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="All since then: 2h, 1d, 2025-07-07.")] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="XID:SEQ", help="All after this event, whose cursor --json shows.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=0, help="How many to begin with, where no start is given.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print events in an order that passes none by, however their transactions overlapped."""
    from ourvidz import bootstrap
    from ourvidz.db import queries

    db = bootstrap.app().database
    job_id = str(resolve.job(db, job)["id"]) if job else None
    start, cursor = resolve.since(db, since), _cursor(after)
    if cursor is None and start is None and job_id is None:
        page = queries.last_events(db, limit) if limit else []
        # No events yet: start at the beginning. --limit 0: start now.
        cursor = (page[-1]["xid"], page[-1]["seq"]) if page else queries.START if limit else queries.settled(db)
        _print(page, as_json)
        if not follow:
            return
    cursor = cursor or queries.START
    while True:
        page = queries.events_after(db, cursor, job_id=job_id, since=start, limit=PAGE)
        _print(page, as_json)
        if page:
            cursor = page[-1]["xid"], page[-1]["seq"]
        if len(page) < PAGE:
            if not follow:
                return
            time.sleep(POLL)


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    xid, _, seq = text.partition(":")
    if not (xid.isascii() and seq.isascii() and xid.isdigit() and seq.isdigit() and len(xid) < 20 and len(seq) < 19):
        raise out.Problem(f"--after: {text[:40]!r} is no cursor. Write the xid and seq of an event, like 812:4077.", 2)
    return xid, int(seq)


def _print(page: list[dict[str, Any]], as_json: bool) -> None:
    for e in page:
        if as_json:
            print(json.dumps(e | {"cursor": f"{e['xid']}:{e['seq']}"}, default=out.plain))
        elif out.stdout().is_terminal:
            _print_line(e)
        else:
            cells = (out.plain(e["occurred_at"]), e["job_id"], e["version"], e["type"], e["from_status"] or "", e["to_status"], e["actor"])
            print("\t".join(map(str, cells)))
    if page:
        out.stdout().file.flush()


def _print_line(e: dict[str, Any]) -> None:
    from rich.text import Text

    moved = e["from_status"] != e["to_status"]
    line = Text.assemble(
        (f"{e['occurred_at']:%H:%M:%S}.{e['occurred_at'].microsecond // 1000:03d}  ", "dim"),
        f"{str(e['job_id'])[:8]}  ",
        (f"{e['version']:>3}  ", "dim"),
        (f"{e['type']:<20}", out.STATUS_STYLE[e["to_status"]] if moved else ""),
        (f"  {'→ ' + e['to_status'] if moved else '':<12}  {jobs.remark(e)}", "dim"),
    )
    line.rstrip()
    out.stdout().print(line, soft_wrap=True)
