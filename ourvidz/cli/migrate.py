"""`ourvidz migrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import about


def add(app: typer.Typer, panel: str) -> None:
    app.command("migrate", **about("ourvidz migrate", "ourvidz migrate --check && deploy", panel=panel))(migrate)


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 when the database is not at this schema.")] = False,
    local_profile: Annotated[
        bool, typer.Option("--local-profile", help="Also make one verified profile, for a database that one person uses.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Bring the database (DATABASE_URL, or the embedded one) to this program's schema."""
    from ourvidz import bootstrap
    from ourvidz.db import migrate
    from ourvidz.db.connection import Database

    database = Database(bootstrap.app().database_url)
    wanted = migrate.head()
    with database.transaction() as connection:
        found = migrate.current(connection)
        if not check:
            migrate.migrate(connection)
    if local_profile and not check:
        bootstrap.make_local_profile(database)
    if as_json:
        out.emit({"found": found, "schema": wanted, "changed": not check and found != wanted, "current": not check or found == wanted})
    elif check and found != wanted:
        out.say(f"The database is at schema {found or '(none)'}; this program needs {wanted}. `ourvidz migrate` brings it there.")
    else:
        print(f"schema {wanted}" + ("" if found == wanted else f" (was {found or 'empty'})"))
    if check and found != wanted:
        raise typer.Exit(1)
