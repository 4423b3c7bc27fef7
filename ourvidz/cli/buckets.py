"""`ourvidz buckets`: the project's buckets, and orphaned objects in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, options, out
from ourvidz.cli.help import about

if TYPE_CHECKING:
    from ourvidz.orphan_objects import Orphan
    from ourvidz.storage.api import Api
    from ourvidz.storage.buckets import Row

_STYLE = {"as asked": "green", "wider": "green", "missing": "red", "differs": "yellow", "not ours": "dim"}


def add(app: typer.Typer) -> None:
    app.command("ls", **about("ourvidz buckets ls", "ourvidz buckets ls --json"))(ls)
    app.command("sync", **about("ourvidz buckets sync --dry-run", "ourvidz buckets sync"))(sync)
    app.command("sweep", **about("ourvidz buckets sweep --dry-run", "ourvidz buckets sweep --older 7d --yes"))(sweep)
    app.command("link", **about("ourvidz buckets link sdxl_image_fast/USER/JOB/1-0.png --for 1d"))(link)


def ls(as_json: options.Json = False) -> None:
    """List the project's buckets, and how they differ from what OurVidz needs."""
    _show(_compare(_api()), as_json)


def sync(
    exact: Annotated[bool, typer.Option("--exact", help="Also lower limits and take away media types that the catalog has not.")] = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Make the buckets that are missing, and bring the public flag, limit and media types of the others to what is needed.

    Nothing is deleted, buckets that are not ours are left alone, and one that takes more than is needed goes on taking it. A bucket is not
    made while a policy on storage would open it to others. Exit 1 when one was not made or changed.
    """
    from ourvidz.storage.base import StorageError
    from ourvidz.storage.buckets import bring

    api = _api()
    rows = _compare(api)
    todo = [row for row in rows if row.state in ("missing", "differs") or (exact and row.state == "wider")]
    open_ones = _opened([row.name for row in todo if row.state == "missing"])
    refused = len(open_ones)
    for row in todo if not dry_run else ():
        if row.name in open_ones:
            continue
        try:
            bring(api, row, exact=exact)
        except StorageError as error:
            if error.retryable:
                raise
            refused += 1
            out.say(f"{row.name}: {error}", "yellow")
    _show(rows if dry_run else _compare(api), as_json)
    done = (
        f"{formatting.count(len(todo) - refused, 'bucket')} to make or change"
        if dry_run
        else f"{formatting.count(len(todo) - refused, 'bucket')} made or changed"
    )
    out.say(f"{done}, {formatting.count(sum(row.state in ('as asked', 'wider') for row in rows), 'was', 'were')} as asked.", "dim")
    if any(row.state == "wider" for row in rows) and not exact:
        out.say("What takes more than is needed was left so; `--exact` changes it.", "dim")
    if refused:
        raise typer.Exit(1)


def _opened(missing: Sequence[str]) -> set[str]:
    """Missing buckets that a storage policy would open to others. Prints each such policy in red."""
    from ourvidz import bootstrap
    from ourvidz.db import storage_policies
    from ourvidz.db.connection import Database, DatabaseAway, DatabaseBusy

    app = bootstrap.app()
    if not missing or app.embedded:
        if missing:
            out.say("DATABASE_URL is not set: whether a policy opens the new buckets to others was not looked at.", "yellow")
        return set()
    try:
        database = Database(app.database_url)
        database.rows("select 1")  # raises DatabaseAway if the server is unreachable
        with database.transaction() as connection:
            found = storage_policies.waking(connection, missing)
    except DatabaseBusy:
        raise  # the server is up: running the command again gets an answer
    except DatabaseAway as error:
        out.say(f"Whether a policy opens the new buckets to others was not looked at: {error}", "yellow")
        return set()
    for leaks in found.values():
        for leak in leaks:
            out.say(f"not made: {leak}. `ourvidz migrate` drops the policy; or run: {leak.remedy}", "red")
    return set(found)


def sweep(
    older: Annotated[str, typer.Option("--older", metavar="DURATION", help="Only objects written so long ago: 24h, 7d.")] = "24h",
    unknown_jobs: Annotated[bool, typer.Option("--unknown-jobs", help="Also objects of jobs that this database does not know.")] = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Delete objects of jobs that no artifact names, and what uploads that were cut off have left.

    An executor writes its row before its object, so what no row names nobody will come to want. Objects of jobs that this database does not
    know are counted and left, unless you say --unknown-jobs: they may belong to another database.
    """
    from datetime import timedelta

    from ourvidz import bootstrap
    from ourvidz.db import queries
    from ourvidz.orphan_objects import orphans

    span = options.seconds(older, "--older") or 0.0
    app = bootstrap.app()
    before = queries.now(app.database) - timedelta(seconds=span)
    found = list(orphans(app.database, app.store, before))
    doomed = [orphan for orphan in found if orphan.known or unknown_jobs]
    unfinished = app.store.sweep_unfinished(before, dry_run=True)
    deleted = cut_off = 0
    if not as_json:
        _table(found)
    if (doomed or unfinished) and not dry_run:
        what = f"{formatting.count(len(doomed), 'object')} ({formatting.size(sum(o.bytes for o in doomed))})"
        out.confirm(f"Delete {what} and {formatting.count(unfinished, 'unfinished upload')}?", yes=yes)
        deleted = sum(app.store.delete(orphan.bucket, orphan.path) for orphan in doomed)
        cut_off = app.store.sweep_unfinished(before)
    if as_json:
        rows = [{k: getattr(o, k) for k in ("bucket", "path", "bytes", "written", "known")} for o in found]
        out.emit({"orphans": rows, "unfinished": unfinished, "deleted": deleted, "unfinished_deleted": cut_off, "dry_run": dry_run})
    left = sum(not orphan.known for orphan in found)
    if left and not unknown_jobs:
        out.say(
            f"{formatting.count(left, 'object')} of jobs that this database does not know: left. Is DATABASE_URL this project's?", "yellow"
        )
    total = f"{formatting.count(len(doomed), 'orphan')}, {formatting.count(unfinished, 'unfinished upload')}"
    out.say(f"{total}; nothing was deleted." if dry_run else f"{total}; {deleted + cut_off} deleted.", "dim")


def link(
    address: Annotated[str, typer.Argument(metavar="BUCKET/PATH", help="An object, as `jobs show` names it.", show_default=False)],
    lasting: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long it can be read: 10m, 1h, 7d.")] = "1h",
    as_json: options.Json = False,
) -> None:
    """Print an address at which anyone can read an object for a while, without a key."""
    from ourvidz import bootstrap

    span = int(options.seconds(lasting, "--for") or 0)
    bucket, _, path = address.partition("/")
    if span < 1 or not path:
        raise out.Problem("Write BUCKET/PATH, and --for at least a second.", 2)
    found = bootstrap.app().store.sign(bucket, path, span)
    if as_json:
        out.emit({"bucket": bucket, "path": path, "url": found, "seconds": span})
    else:
        print(found)


def _api() -> Api:
    from ourvidz import bootstrap
    from ourvidz.storage.supabase import SupabaseStorage

    app = bootstrap.app()
    if not isinstance(app.store, SupabaseStorage):
        raise out.Problem(f"The buckets are folders of {app.config.storage}. Set SUPABASE_URL and SUPABASE_SECRET_KEY to use a project's.")
    return app.store.api


def _compare(api: Api) -> Sequence[Row]:
    from ourvidz.storage.buckets import compare
    from state.catalog import BUCKETS

    return compare(api, BUCKETS)


def _show(rows: Sequence[Row], as_json: bool) -> None:
    if as_json:
        out.emit([{"name": row.name, "state": row.state, **row.wanted, "differs": dict(row.differs)} for row in rows])
        return
    out.table(("bucket", "state", "limit", "types", "read by", "there"), [_cells(row) for row in rows], right=("limit",))


def _cells(row: Row) -> list[out.Cell]:
    limit, types = row.wanted["file_size_limit"], row.wanted["allowed_mime_types"]
    there = ", ".join(f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in row.differs.items())
    return [
        out.cell(row.name),
        out.cell(row.state, _STYLE[row.state]),
        out.Cell(formatting.size(limit) if limit else "–", str(limit or "")),
        out.cell(_plain(types)),
        out.cell("anyone" if row.wanted["public"] else "its user"),
        out.cell(there, "yellow"),
    ]


def _plain(value: Any) -> str:
    return "any" if value is None else " ".join(value) if isinstance(value, list) else str(value).lower()


def _table(found: Sequence[Orphan]) -> None:
    by_bucket: dict[str, list[Orphan]] = defaultdict(list)
    for orphan in found:
        by_bucket[orphan.bucket].append(orphan)
    rows = [
        [
            out.cell(bucket),
            out.number(len(some)),
            out.Cell(formatting.size(total := sum(o.bytes for o in some)), str(total)),
            out.number(sum(not o.known for o in some), "yellow" if any(not o.known for o in some) else ""),
            out.cell(min(o.written for o in some).date(), "dim"),
        ]
        for bucket, some in by_bucket.items()
    ]
    if rows:
        out.table(("bucket", "orphans", "size", "unknown jobs", "oldest"), rows, right=("orphans", "size", "unknown jobs"))
