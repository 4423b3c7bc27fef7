"""`ourvidz restored`: after a restore, a move or a copy, set up everything that a dump or a subscription does not carry."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import about

IN_SERVICE = (
    "This database is in service: it is not known to be a copy. --copy turns its receivers off, drops the messages that it has not sent "
    "and {jobs} its unfinished jobs. Go on?"
)
KEPT = "--keep-jobs goes with --copy: a database that goes on instead of another one keeps its jobs."


def add(app: typer.Typer, panel: str) -> None:
    app.command("restored", **about("ourvidz restored --replaces", "ourvidz restored --copy    # a copy, to test on", panel=panel))(
        restored
    )


def restored(
    replaces: Annotated[bool, typer.Option("--replaces", help="The other database does not go on: this one takes its place.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="The other one goes on; this one is a copy, and does none of its work.")] = False,
    keep_jobs: Annotated[
        bool, typer.Option("--keep-jobs", help="With --copy: unfinished jobs are not cancelled, but made here too.")
    ] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Make a restored, moved or copied database whole, and say which of the two it is.

    Applies this program's roles, owners, grants, triggers and policies, as `migrate` does; raises sequences; lets events go on after those
    that are there, so that readers' cursors hold; gives back what absent executors hold. Run it once the rows are there. docs/restore.md
    has each way of restoring, moving and copying.
    """
    if replaces == copy:
        raise out.Problem("Say which of the two goes on: --replaces (this one alone) or --copy (both).", 2)
    if keep_jobs and not copy:
        raise out.Problem(KEPT, 2)
    from ourvidz import bootstrap
    from ourvidz.cli import plan_output
    from ourvidz.db import restored as moving
    from ourvidz.db import schema_objects
    from ourvidz.db.connection import Database

    database = Database(bootstrap.app().database_url)
    with database.transaction() as connection:
        if schema_objects.found(connection) is None:
            raise out.Problem("There is nothing of this program's in this database. `ourvidz migrate` begins one.")
        in_service = copy and not moving.is_copy(connection)
    if in_service:  # a wrong DATABASE_URL would stop a live database
        out.confirm(IN_SERVICE.format(jobs="keeps" if keep_jobs else "cancels"), yes=yes)
    whole = moving.make_whole(database, "restored" if replaces else "copied", keep_jobs=keep_jobs, tell=out.say)
    if refused := [step for step in whole.steps if step.refused]:
        if not as_json:
            plan_output.show(refused)
        raise out.Problem(f"This database cannot be made whole as it is: {refused[0].object}: {refused[0].refused}. Nothing was changed.")
    now = whole.identity
    assert now is not None
    analyzed, missing = moving.analyze(database), moving.logins_missing(database)
    if as_json:
        out.emit(
            {
                "id": now.id,
                "how": now.how,
                "applied": [asdict(s) for s in whole.steps],
                "done": whole.done,
                "analyzed": analyzed,
                "logins_missing": missing,
            }
        )
        return
    print(f"database {now.id}: {'replaces the other one' if replaces else 'is a copy; the other one goes on'}")
    _print("schema objects, owners and rights set again", len(whole.steps))
    for what, n in whole.done.items():
        _print(what, n)
    _print("tables analyzed", analyzed)
    if missing:
        out.say(f"Logins that this server does not have: {', '.join(missing)}. `ourvidz logins add NAME` makes each again.", "yellow")
    if copy:
        out.say(
            "Give it a SUPABASE_URL and Redis of its own: with the other one's it would write into its buckets and take its messages.",
            "yellow",
        )
    else:
        out.say("Now: ourvidz doctor; ourvidz audit, which says what was lost since the heads were published.", "dim")


def _print(what: str, n: int) -> None:
    print(f"{n:>8,}  {what}")
