"""`ourvidz migrate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, options, out, trust
from ourvidz.cli.help import about

if TYPE_CHECKING:
    from ourvidz.db.reconcile import Beliefs
    from ourvidz.db.storage_policies import Applied


def add(app: typer.Typer, panel: str) -> None:
    app.command(
        "migrate",
        **about(
            "ourvidz migrate",
            "ourvidz migrate --check && deploy",
            "ourvidz migrate --sql -o supabase/migrations/20260101000000_ourvidz.sql",
            "ourvidz migrate --trust plan=paying.txt --balance 20",
            panel=panel,
        ),
    )(migrate)


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; say what would be done, and exit 1 if anything would.")] = False,
    local_profile: Annotated[
        bool, typer.Option("--local-profile", help="Also make one verified profile, for a database that one person uses.")
    ] = False,
    keep_policies: Annotated[
        bool,
        typer.Option("--keep-policies", help="Leave policies on storage that let through what is private; `doctor` is red until they go."),
    ] = False,
    believe: Annotated[
        list[str] | None,
        typer.Option(
            "--trust",
            metavar="WHAT=WHOM",
            help="What users of the older system wrote about themselves: balance=, plan= or age=, each none, all, or a file of users' ids. "
            "Nothing is believed that is not said; ourvidz.import_decisions keeps what each wrote.",
        ),
    ] = None,
    balance: Annotated[
        int, typer.Option("--balance", min=0, max=1_000_000, help="Tokens for those of them whose balance is not believed.")
    ] = 0,
    sql: Annotated[
        bool,
        typer.Option("--sql", help="Change nothing; print it all as one SQL file: what DATABASE_URL's database lacks, or everything."),
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where --sql writes, instead of stdout.")] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="DURATION", help="For how long to try again while another session is in the way.")
    ] = "10m",
    as_json: options.Json = False,
) -> None:
    """Bring the database (DATABASE_URL, or the embedded one) to this program's release."""
    if output is not None and not sql:
        raise out.Problem("--output goes with --sql.", 2)
    patience = options.seconds(wait, "--wait") or 0.0
    believed = trust.beliefs(believe, balance) if believe or balance else None
    if sql:
        return _write(output, believed, keep_policies=keep_policies)
    from ourvidz import bootstrap
    from ourvidz.cli import plan_output
    from ourvidz.db import concurrent_indexes, lock_retry, migrate, migration_plan, reconcile, restored, schema_objects
    from ourvidz.db.connection import Database

    database = Database(bootstrap.app().database_url)
    applied: list[Applied] = []

    def attempt(connection: Any) -> tuple[schema_objects.Release | None, schema_objects.Standing, str | None, list[migration_plan.Step]]:
        before = schema_objects.found(connection), schema_objects.standing(connection)
        if believed:
            reconcile.believe(connection, believed)
        planned = migrate.current(connection), migration_plan.steps(connection)
        if not check and not any(step.refused for step in planned[1]):
            migrate.migrate(connection, believed, keep_policies=keep_policies, tell=applied.append, lock_timeout=None)
        return *before, *planned

    if not check:
        concurrent_indexes.build(database, tell=lambda said: out.say(said, "dim"), patience=patience)
    there, standing, found, steps = lock_retry.give_way(
        database, attempt, patience=patience, tell=lambda said: out.say(said, "yellow"),
    )  # fmt: skip
    refused = [step for step in steps if step.refused]
    for done in applied[-1:]:
        _storage(done)
    if refused and not check:
        if as_json:
            out.emit({"found": found, "steps": [asdict(step) for step in refused], "changed": False, "current": False})
        else:
            plan_output.show(refused)
        raise out.Problem(f"This database cannot be migrated as it is: {refused[0].object}: {refused[0].refused}. Nothing was changed.")
    if local_profile and not check:
        bootstrap.make_local_profile(database)
    if not check and (project := bootstrap.app().config.supabase_url):
        from ourvidz.db import ages, moderation

        moderation.follow_project(database, project)
        if page := ages.follow_project(database, project):
            out.say(f"Refusals for age and attestation link to {page}; `ourvidz age page` says whether a browser shows it.", "dim")
    have, need = there.number if there else None, schema_objects.numbered().release
    if as_json:
        known = {"found": found, "schema": migrate.head(), "release": {"database": have, "program": need}}
        out.emit(
            known | {"steps": [asdict(step) for step in steps], "changed": not check and bool(steps), "current": not check or not steps}
        )
    elif standing is schema_objects.Standing.NEWER:
        print(f"The database has release {have}, this program has {need}: it is left as it is. This program goes on working with it.")
    elif check and steps:
        out.say("`ourvidz migrate` would bring this database to this program's release:")
        print(f"release {'(none)' if have is None else have} → {need}")
        plan_output.show(steps)
    elif have == need and steps:
        print(f"release {need} (was {have}; {formatting.count(len(steps), 'step')} set again what was changed since)")
    else:
        print(f"release {need}" + ("" if not steps else f" (was {'empty' if have is None else have})"))
    with database.transaction() as connection:
        copied = restored.is_copy(connection)
    if copied:
        out.say(f"{restored.SAID}. {restored.REMEDY}. Nothing is made or sent before.", "yellow")
    if check and steps:
        raise typer.Exit(1)


def _write(output: Path | None, believed: Beliefs | None, *, keep_policies: bool) -> None:
    """Write the SQL for any database if DATABASE_URL is unset; else what that database lacks, or nothing if a step would be refused."""
    from ourvidz.cli import plan_output
    from ourvidz.config import config
    from ourvidz.db import migration_plan, plain_sql, reconcile
    from ourvidz.db.connection import Database

    url = config().database_url
    if url is None:
        text = plain_sql.write(None, believed, keep_policies=keep_policies)
    else:
        with Database(url.get_secret_value()).transaction() as connection:
            if believed:
                reconcile.believe(connection, believed)
            if refused := [step for step in migration_plan.steps(connection) if step.refused]:
                plan_output.show(refused)
                raise typer.Exit(1)
            text = plain_sql.write(connection, believed, keep_policies=keep_policies)
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
        out.say(f"{output}: {len(text.splitlines()):,} lines. A second run of it changes nothing.")


def _storage(done: Applied) -> None:
    for leak in done.leaks:
        out.say(f"{leak}: {'dropped' if leak.dropped else 'kept'}.", "yellow" if leak.dropped else "red")
    if done.statements:
        out.say("Not ours to change here. Run this in the project's SQL editor, as a role that owns storage.objects:", "red")
        for statement in done.statements:
            out.say(f"  {statement}")
