"""`ourvidz erase` and `ourvidz hold set | lift | ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import options, out, resolve
from ourvidz.cli.help import Sections, about

if TYPE_CHECKING:
    from ourvidz.erasure import Erased, Eraser
    from ourvidz.intake.upstash import Upstash

User = Annotated[str, typer.Argument(metavar="USER", help="A user's id.", show_default=False)]
_KINDS = {
    "prompts": "prompts, with what was made of them",
    "job_metadata": "jobs with fields that clients wrote",
    "test_results": "results of admins' tests",
    "activity_log": "lines of the activity log",
    "import_decisions": "what was believed of them at import",
    "profiles": "profiles, blanked",
    "older_jobs": "rows of the older system's jobs",
    "artifacts": "rows of pictures and videos",
    "objects": "objects in buckets",
    "spool": "folders in this host's spool",
    "usage_logs": "words in the usage report",
    "outbox": "messages to receivers",
    "refusal_digests": "digests of refused texts",
    "dead_letters": "dead letters",
    "unfinished_jobs": "unfinished jobs, cancelled first",
}


def add(app: typer.Typer, panel: str) -> None:
    samples = ("ourvidz erase 3f0c1a52-… --dry-run", "ourvidz erase 3f0c1a52-… --reason 'ticket 4711' --yes --json > report.json")
    app.command("erase", **about(*samples, panel=panel))(erase)
    hold = typer.Typer(cls=Sections, rich_markup_mode=None, help="Legal holds: what a user has is kept until they are lifted.")
    hold.command("set", **about("ourvidz hold set 3f0c1a52-… --reason 'court order 12/25'"))(hold_set)
    hold.command("lift", **about("ourvidz hold lift 3f0c1a52-…"))(hold_lift)
    hold.command("ls", **about("ourvidz hold ls", "ourvidz hold ls --all --json"))(hold_ls)
    app.add_typer(hold, name="hold", rich_help_panel=panel)


def erase(
    user: User,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Kept with the record: a ticket, say.")] = None,
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="For jobs that are under way to stop.")] = "2m",
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Erase a user's prompts, pictures and objects. They can queue nothing any more.

    Unfinished jobs are cancelled first. Events stay, without a word of the user in them, and `ourvidz audit` still verifies. Cut off
    anywhere, the same again goes on. While a legal hold stands nothing is erased.
    """
    from ourvidz.db import safety

    owner = _uuid(user)
    patience = options.seconds(timeout, "--timeout") or 0.0
    if reason is not None and len(reason) > 500:
        raise out.Problem("--reason may have at most 500 characters.", 2)
    eraser = _eraser()
    found = eraser.look(owner)
    if dry_run:
        return _report(found, as_json)
    if not yes:
        _table(found)
    out.confirm(f"Erase all of this of user {owner}, for good?", yes=yes)
    done = eraser.erase(owner, by=resolve.actor(), reason=reason, timeout_s=patience)
    _report(done, as_json)
    if kept := [row for row in safety.holds(eraser.jobs.db) if str(row["user_id"]) == owner]:
        out.say(f"A hold was set meanwhile: {kept[0]['reason']}", "yellow")


def _eraser() -> Eraser:
    from ourvidz import bootstrap
    from ourvidz.erasure import Eraser

    app = bootstrap.app()
    return Eraser(app.jobs, app.store, app.config.spool, _redis(), lambda line: out.say(line, "dim"))


def _redis() -> Upstash | None:
    from ourvidz.config import config
    from ourvidz.intake.upstash import Upstash

    url, token = config().upstash_redis_rest_url, config().upstash_redis_rest_token
    return Upstash(url, token.get_secret_value()) if url and token is not None else None


def _report(what: Erased, as_json: bool) -> None:
    if as_json:
        return out.emit({"dry_run": what.finished_at is None, **what.__dict__})
    _table(what)
    for line in what.remains:
        out.say(f"Not erased here: {line}", "yellow")
    if what.finished_at is not None:
        out.say("`ourvidz audit` verifies the events that are left.", "dim")


def _table(what: Erased) -> None:
    rows = [[out.number(n), out.Cell(_KINDS.get(kind, kind.replace("_", " ")), kind)] for kind, n in what.counts.items() if n]
    out.table(("erased" if what.finished_at else "there is", "what"), rows, right=("erased", "there is"))
    if not rows:
        out.say("There is nothing of theirs." if what.finished_at is None else "There was nothing of theirs left.", "dim")


def hold_set(
    user: User, reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; people will read it.", show_default=False)],
    as_json: options.Json = False,
) -> None:  # fmt: skip
    """Keep what a user has: no erasure, no sweep of their objects. A hold that stands already stays as it is."""
    from ourvidz import bootstrap
    from ourvidz.db import safety

    owner = _uuid(user)
    row = safety.hold_set(bootstrap.app().database, owner, reason, resolve.actor())
    if as_json:
        return out.emit(row)
    out.say(f"A hold stands on user {row['user_id']} since {out.plain(row['since'])}: {row['reason']}", "green")


def hold_lift(user: User, as_json: options.Json = False) -> None:
    """Lift a user's hold. Exit 1 when none stood."""
    from ourvidz import bootstrap
    from ourvidz.db import safety

    owner = _uuid(user)
    lifted = safety.hold_lift(bootstrap.app().database, owner, resolve.actor())
    if as_json:
        out.emit({"user_id": owner, "lifted": lifted})
    if not lifted:
        raise out.Problem(f"No hold stands on user {owner}.")
    out.say(f"The hold on user {owner} is lifted.", "green")


def hold_ls(
    everything: Annotated[bool, typer.Option("--all", help="Those that were lifted, too.")] = False, as_json: options.Json = False
) -> None:
    """List the holds that stand."""
    from ourvidz import bootstrap
    from ourvidz.db import safety

    rows = safety.holds(bootstrap.app().database, lifted=everything)
    if as_json:
        return out.emit([{k: v for k, v in row.items() if k != "now"} for row in rows])
    out.table(("user", "since", "by", "lifted", "reason"), [_line(row) for row in rows])
    if not rows:
        out.say("No hold stands.", "dim")


def _line(row: dict[str, Any]) -> list[out.Cell]:
    lifted = out.since(row["lifted_at"], row["now"])
    return [out.cell(row["user_id"]), out.since(row["since"], row["now"]), out.cell(row["set_by"], "dim"), lifted, out.cell(row["reason"])]


def _uuid(text: str) -> str:
    found = resolve.a_uuid(text, "USER")
    assert found is not None
    return found
