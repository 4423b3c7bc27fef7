"""Alembic's entry point: reconcile existing tables, then run the numbered migrations, then apply the schema objects, in one transaction.

`ourvidz migrate` passes a connection. Of Alembic's own commands `upgrade head`, `upgrade head --sql`, `current`, `check`, `history`,
`heads`, `show` and `revision -m TOPIC` work; the others are refused, each with what to do instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, text

from ourvidz.db import concurrent_indexes, migration_plan, plain_sql, reconcile, schema_objects, storage_policies
from ourvidz.db.connection import Database
from ourvidz.db.lock_retry import give_way
from ourvidz.db.migrate import head
from ourvidz.db.schema_files import script
from state.errors import JobError

REFUSED = {
    "downgrade": "There is no way down: a history cannot be un-made. An older program works on a newer database as it is "
    "(docs/decisions/0028); to go back in time, restore a backup.",
    "stamp": "A number alone makes no tables. `ourvidz migrate` looks at what the database has, reconciles it and does what is missing; "
    "it may be run at any time.",
    "ensure_version": "The version table is made by the first migration: `ourvidz migrate`.",
    "merge": "Revisions are one line, numbered: there is nothing to merge. Number yours after the last one (`alembic heads`).",
    "autogenerate": "Migrations are SQL files, and functions, views and triggers are not among them (docs/decisions/0028): there is no "
    "model to compare with. `alembic revision -m TOPIC` makes the next numbered file.",
    "partial": "Tables, functions and views are of one release: only `alembic upgrade head` (or `ourvidz migrate`) goes there.",
}
COMMANDS = {
    # Alembic names the function that a command runs here, not the command.
    "upgrade": "upgrade", "downgrade": "downgrade", "do_stamp": "stamp", "do_ensure_version": "ensure_version", "nothing": "merge",
    "_display_current_history": "history", "retrieve_migrations": "revision",
}  # fmt: skip


def run(connection: Connection) -> None:
    connection.execute(text("set local statement_timeout = 0"))  # a DBA's limit is meant for applications
    # A migration that times out on a lock gives way, rather than queueing the whole application behind it.
    if limit := context.config.attributes.get("lock_timeout"):
        connection.execute(text("select set_config('lock_timeout', :limit, true)"), {"limit": limit})
    script(connection, schema_objects.lock())
    if schema_objects.standing(connection) is schema_objects.Standing.NEWER:
        return  # it may have migrations that this program does not know
    # Everything is inspected before anything is changed, and the whole is refused if a part cannot be converted.
    reconcile.apply(connection, context.config.attributes.get("beliefs"))
    connection.execute(text("create schema if not exists ourvidz"))
    context.configure(connection=connection, version_table_schema="ourvidz", transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
    script(connection, concurrent_indexes.rebuild_invalid())
    schema_objects.apply(connection)
    if connection.execute(text("select to_regclass('ourvidz.older_jobs')")).scalar() is not None:
        connection.execute(text("select ourvidz.import_legacy()"))
    reconcile.finish(connection)


def by_hand(options: dict[str, Any]) -> None:
    """Run a command that a person typed: `alembic COMMAND`."""
    command = COMMANDS.get(options["fn"].__name__, "current")
    if command in REFUSED:
        raise CommandError(REFUSED[command])
    if command == "revision":
        revision(options["revision_context"])
    elif command == "history" and not getattr(context.config.cmd_opts, "indicate_current", True):
        options["fn"]((), None)  # revision_environment brings it here, though it needs no database
    elif command in ("current", "history"):
        look(lambda connection: context.run_migrations())
    elif options["destination_rev"] not in ("head", "heads", head()):
        raise CommandError(REFUSED["partial"])
    elif context.is_offline_mode():
        print(plain_sql.write(), end="", file=context.config.output_buffer)
    else:
        with reached() as database:
            concurrent_indexes.build(database, tell=lambda said: context.config.print_stdout("%s", said))
            give_way(database, upgrade, tell=lambda said: context.config.print_stdout("%s", said))


def upgrade(connection: Connection) -> None:
    run(connection)
    if schema_objects.standing(connection) is schema_objects.Standing.CURRENT:
        storage_policies.apply(connection)  # `ourvidz migrate` does so too, and reports the result


def revision(made: Any) -> None:
    """Run `check`, or create a revision: the next number, with the SQL file that it runs. Neither compares with a model."""
    given = made.command_args
    named = getattr(context.config.cmd_opts, "cmd", None)
    if named[0].__name__ == "check" if named else given["autogenerate"] and given["message"] is None:
        return look(check)
    if given["autogenerate"]:
        raise CommandError(REFUSED["autogenerate"])
    if not (slug := "_".join(re.findall(r"\w+", given["message"] or "")).lower()):
        raise CommandError("Give the revision a topic: `alembic revision -m TOPIC`.")
    if len(slug) > 40:  # where Alembic would cut it off
        raise CommandError("The topic is part of a file's name: at most 40 characters.")
    number = given["rev_id"] or f"{int(head()) + 1:04}"
    made.generated_revisions[-1].rev_id = number
    versions = Path(context.config.get_main_option("script_location") or "") / "versions"
    (versions / f"{number}_{slug}.sql").write_text(f"-- {given['message']}\n", encoding="utf-8")


def check(connection: Connection) -> None:
    steps = migration_plan.steps(connection)
    if steps:
        more = f" and {len(steps) - 3} more" if len(steps) > 3 else ""
        said = ", ".join(f"{step.action} {step.object}".strip() for step in steps[:3])
        raise CommandError(f"The database lacks what this program has: {said}{more}. `ourvidz migrate --check` lists all.")


def look(ask: Callable[[Connection], object]) -> None:
    """Run a read-only command: nothing is written, not even Alembic's own table."""
    with connected() as connection:
        context.configure(connection=connection, version_table_schema="ourvidz", dont_mutate=True)
        ask(connection)
        connection.rollback()


@contextmanager
def connected() -> Iterator[Connection]:
    with reached() as database, database.transaction() as connection:
        yield connection


@contextmanager
def reached() -> Iterator[Database]:
    """Open the database that `ourvidz migrate` would use: DATABASE_URL's, else the embedded one."""
    from ourvidz import bootstrap

    try:
        yield Database(context.config.get_main_option("sqlalchemy.url") or bootstrap.app().database_url)
    except JobError as error:
        raise CommandError(str(error)) from error


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    by_hand(context._proxy.context_opts)  # type: ignore[attr-defined]
