"""`ourvidz reports`: reports of outputs with their deadlines, and decisions on outputs, users and appeals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, options, out, resolve
from ourvidz.cli.help import Sections, about

if TYPE_CHECKING:
    from ourvidz.bootstrap import App

Report = Annotated[str, typer.Argument(metavar="REPORT", help="A report's id, or its first characters (4 or more).", show_default=False)]
Which = Annotated[
    str, typer.Argument(metavar="REPORT|OUTPUT", help="A report's id, or with --output an output's link or id.", show_default=False)
]
Output = Annotated[bool, typer.Option("--output", help="What is named is an output, reported or not.")]
User = Annotated[str, typer.Argument(metavar="USER", help="A user's id.", show_default=False)]
Appeal = Annotated[str, typer.Argument(metavar="APPEAL", help="An appeal's id.", show_default=False)]
LOOK = 300  # seconds for which the URLs of --sign are valid
STYLE = {"filed": "yellow", "seen": "cyan", "upheld": "red", "dismissed": "dim"}


def add(app: typer.Typer, panel: str) -> None:
    group = typer.Typer(cls=Sections, rich_markup_mode=None, help="Reports of outputs, takedowns, suspensions and appeals.")
    one = "8a31"
    group.command("ls", **about("ourvidz reports ls", "ourvidz reports ls --closed --json"))(ls)
    group.command("show", **about(f"ourvidz reports show {one}", f"ourvidz reports show {one} --sign"))(show)
    group.command("hide", **about(f"ourvidz reports hide {one}", "ourvidz reports hide --output 3f1c….0"))(hide)
    group.command("block", **about(f"ourvidz reports block {one}"))(block)
    group.command("uphold", **about(f"ourvidz reports uphold {one}"))(uphold)
    group.command("dismiss", **about(f"ourvidz reports dismiss {one}"))(dismiss)
    group.command("restore", **about(f"ourvidz reports restore {one}", "ourvidz reports restore --output 3f1c….0"))(restore)
    group.command("reopen", **about(f"ourvidz reports reopen {one}"))(reopen)
    group.command("forget", **about(f"ourvidz reports forget {one}"))(forget)
    group.command("suspend", **about("ourvidz reports suspend 3f1c… --reason abuse"))(suspend)
    group.command("lift", **about("ourvidz reports lift 3f1c…"))(lift)
    group.command("suspended", **about("ourvidz reports suspended", "ourvidz reports suspended --all"))(suspended)
    group.command("appeals", **about("ourvidz reports appeals"))(appeals)
    group.command("grant", **about("ourvidz reports grant 5d02…"))(grant)
    group.command("deny", **about("ourvidz reports deny 5d02…"))(deny)
    group.command("page", **about("ourvidz reports page --write report.html"))(page)
    app.add_typer(group, name="reports", rich_help_panel=panel)


def ls(
    closed: Annotated[bool, typer.Option("--closed", help="Those that were decided instead.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many.")] = 500,
    as_json: options.Json = False,
) -> None:
    """List reports that wait, the next deadline first. Exit 1 while one is overdue."""
    from ourvidz.db import moderation

    rows = moderation.queue(_app().database, closed=closed, limit=limit)
    late = [row for row in rows if row["overdue"]]
    if as_json:
        out.emit([{name: value for name, value in row.items() if name != "now"} for row in rows])
    elif rows:
        columns = ("report", "kind", "valid", "status", "output", "filed", "closed" if closed else "decide within")
        out.table(columns, [[
            out.cell(r["id"]), out.cell(r["category"]), out.cell("yes" if r["valid"] else "no"), out.cell(r["status"], STYLE[r["status"]]),
            out.cell(r["state"] or "not ours"), out.since(r["filed_at"], r["now"]),
            out.since(r["closed_at"], r["now"]) if closed else _left(r),
        ] for r in rows])  # fmt: skip
    else:
        out.say("No report waits." if not closed else "No report was decided yet.", "dim")
    if late:
        out.say(f"{formatting.count(len(late), 'report')} overdue: decide them now (hide, dismiss, uphold or block).", "bold red")
        raise typer.Exit(1)


def _left(row: dict[str, Any]) -> out.Cell:
    left = (row["due_at"] - row["now"]).total_seconds()
    return out.cell(f"OVERDUE by {formatting.duration(-left)}", "bold red") if left < 0 else out.cell(formatting.duration(left))


def show(
    report: Report,
    sign: Annotated[bool, typer.Option("--sign", help="Print addresses at which the files can be looked at for five minutes.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show a report with what its sender wrote, and all that was done. It is then marked as seen, by you."""
    from ourvidz.db import moderation
    from ourvidz.quarantine import sealed_path
    from state.catalog import QUARANTINE

    app = _app()
    found = _report(app, report)
    before = moderation.report(app.database, found)
    if before is not None and before["status"] == "filed":
        moderation.act(app.database, found, "see", resolve.actor())
    one = moderation.report(app.database, found)
    assert one is not None
    if sign:
        for thing in one["objects"]:
            bucket, path = thing["bucket"], thing["path"]
            if thing["moved"]:
                bucket, path = QUARANTINE, sealed_path(bucket, path)
            thing["url"] = app.store.sign(bucket, path, LOOK)
    if as_json:
        return out.emit({name: value for name, value in one.items() if name != "now"})
    texts = one["texts"] or {}
    told = {
        "report": one["id"], "kind": one["category"], "status": one["status"], "valid": "yes" if one["valid"] else "no",
        "due": str(out.plain(one["due_at"])), "output": one["subject"] or "none of ours", "state": one["state"], "user": one["user_id"],
        **{name: texts.get(name) for name in ("named", "contact", "signature", "said")},
    }  # fmt: skip
    out.fields([(name, str(value)) for name, value in told.items() if value])
    for thing in one["objects"]:
        out.fields([("file", f"{thing['bucket']}/{thing['path']}{' (in quarantine)' if thing['moved'] else ''}")])
        if sign:
            out.fields([("url", thing["url"])])
    rows = [
        [out.since(e["at"], one["now"]), out.cell(e["type"]), out.cell(e["actor"]), out.cell(e["reason"] or "–")] for e in one["events"]
    ]
    out.table(("when", "what", "by", "reason"), rows)


def hide(which: Which, output: Output = False, as_json: options.Json = False) -> None:
    """Hide the output while you decide: unreadable at once, its files moved into quarantine."""
    _act(which, "hide", output, as_json)


def block(which: Which, output: Output = False, as_json: options.Json = False) -> None:
    """Uphold it, and refuse the same and what looks like it from now on. Copies made before are hidden."""
    _act(which, "block", output, as_json)


def uphold(which: Report, as_json: options.Json = False) -> None:
    """Decide that the report is right: the output stays hidden."""
    _act(which, "uphold", False, as_json)


def dismiss(which: Report, as_json: options.Json = False) -> None:
    """Decide that the report is wrong: the output comes back, unless another report holds it."""
    _act(which, "dismiss", False, as_json)


def restore(which: Which, output: Output = False, as_json: options.Json = False) -> None:
    """Bring the output back, whatever other reports say; a block of it is lifted."""
    _act(which, "restore", output, as_json)


def reopen(which: Report, as_json: options.Json = False) -> None:
    """Take a decision back: the report waits again. The output stays as it is."""
    _act(which, "reopen", False, as_json)


def _act(which: str, verb: str, output: bool, as_json: bool) -> None:
    from ourvidz.db import moderation

    app = _app()
    if output:
        done = moderation.output(app.database, which, verb, resolve.actor(), "other")
        said = f"{done['subject']}: {done['state']}"
    else:
        done = moderation.act(app.database, _report(app, which), verb, resolve.actor())
        said = f"{done['id']}: {done['status']}"
    _move(app)
    out.emit(done) if as_json else print(said)


def forget(report: Report, yes: options.Yes = False, as_json: options.Json = False) -> None:
    """Delete what a report's sender wrote, and their contact. What was decided stays."""
    from ourvidz.db import moderation

    app = _app()
    found = _report(app, report)
    out.confirm(f"Delete the texts of report {found}?", yes=yes)
    moderation.forget(app.database, found, resolve.actor())
    out.emit({"id": found, "forgotten": True}) if as_json else print(f"{found}: forgotten")


def suspend(
    user: User, reason: Annotated[str, typer.Option("--reason", metavar="WORD", help="One word, kept with it.", show_default=False)],
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Suspend a user: their jobs stop, nothing more is queued, their files are unreadable and move into quarantine."""
    from ourvidz.db import moderation

    app, found = _app(), resolve.a_uuid(user, "USER")
    assert found is not None
    row = moderation.suspend(app.database, found, reason, resolve.actor())
    _move(app)
    out.emit(row) if as_json else print(f"{found}: suspended")


def lift(user: User, as_json: options.Json = False) -> None:
    """Lift a suspension. Exit 1 when none stood."""
    from ourvidz.db import moderation

    app, found = _app(), resolve.a_uuid(user, "USER")
    assert found is not None
    lifted = moderation.lift(app.database, found, resolve.actor())
    if as_json:
        out.emit({"user_id": found, "lifted": lifted})
    if not lifted:
        raise out.Problem(f"User {found} is not suspended.")
    _move(app)
    if not as_json:
        print(f"{found}: lifted")


def suspended(every: Annotated[bool, typer.Option("--all", help="Lifted ones too.")] = False, as_json: options.Json = False) -> None:
    """List users who are suspended."""
    from ourvidz.db import moderation

    rows = moderation.suspensions(_app().database, lifted=every)
    if as_json:
        return out.emit([{name: value for name, value in row.items() if name != "now"} for row in rows])
    out.table(("user", "since", "reason", "by", "lifted by"), [[
        out.cell(r["user_id"]), out.since(r["since"], r["now"]), out.cell(r["reason"]), out.cell(r["by"]), out.cell(r["lifted_by"] or "–"),
    ] for r in rows])  # fmt: skip


def appeals(every: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False, as_json: options.Json = False) -> None:
    """List appeals that wait, with what they say."""
    from ourvidz.db import moderation

    rows = moderation.appeals(_app().database, decided=every)
    if as_json:
        return out.emit([{name: value for name, value in row.items() if name != "now"} for row in rows])
    out.table(("appeal", "user", "against", "asked", "decision", "says"), [[
        out.cell(r["id"]), out.cell(r["user_id"]), out.cell("suspension" if r["suspension"] else r["subject"]),
        out.since(r["asked_at"], r["now"]), out.cell(r["decision"] or "–"), out.cell(r["said"] or "–"),
    ] for r in rows])  # fmt: skip


def grant(appeal: Appeal, as_json: options.Json = False) -> None:
    """Grant an appeal: the output comes back, or the suspension is lifted."""
    _decide(appeal, True, as_json)


def deny(appeal: Appeal, as_json: options.Json = False) -> None:
    """Deny an appeal. There is no second one."""
    _decide(appeal, False, as_json)


def _decide(appeal: str, granted: bool, as_json: bool) -> None:
    from ourvidz.db import moderation

    app, found = _app(), resolve.a_uuid(appeal, "APPEAL")
    assert found is not None
    done = moderation.decide_appeal(app.database, found, granted, resolve.actor())
    _move(app)
    out.emit(done) if as_json else print(f"{found}: {done['decision']}")


def page(
    write: Annotated[Path, typer.Option("--write", metavar="FILE", help="Write the page as one file.", show_default=False)],
    as_json: options.Json = False,
) -> None:
    """Write the report page as one file, to host anywhere: Supabase lets functions show HTML on a custom domain alone.

    SUPABASE_URL goes into it. Then set the function's secret REPORT_PAGE_URL to the file's address.
    """
    from ourvidz.safety import report_page

    url = _app().config.supabase_url
    if url is None:
        raise out.Problem("Set SUPABASE_URL: the page sends its reports to that project.", 2)
    write.write_text(report_page.standalone(url), encoding="utf-8")
    if as_json:
        return out.emit({"file": write, "url": url})
    out.say(f"Written to {write}. Host it over https, and set REPORT_PAGE_URL to its address (supabase secrets set).")


def _app() -> App:
    from ourvidz import bootstrap

    return bootstrap.app()


def _report(app: App, prefix: str) -> str:
    from ourvidz.db import moderation

    return resolve.one("report", app.database, prefix, moderation.found, str, "`ourvidz reports ls` lists them.")


def _move(app: App) -> None:
    """Move the files now if the store can be reached from here; else the deliverer does it within seconds."""
    from ourvidz.quarantine import Quarantine
    from ourvidz.storage.base import StorageError

    try:
        Quarantine(app.database, app.store, all_here=app.config.supabase is not None or app.embedded).settle()
    except StorageError as error:
        out.say(f"The files are not moved from here ({error}); `ourvidz deliver run` does it.", "yellow")
