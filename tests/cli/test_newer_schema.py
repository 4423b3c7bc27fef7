"""A database of a newer release, and a read-only one, as seen by `doctor`, `top` and commands that need the database."""

from __future__ import annotations

import io

import pytest
from cli_command import Command
from rich.console import Console
from support import Server, Switch

from ourvidz.bootstrap import App, NotServed
from ourvidz.cli import doctor_checks, top
from ourvidz.cli.top_page import page
from ourvidz.config import Config
from ourvidz.db import schema_objects
from ourvidz.db.connection import Database
from ourvidz.waiting_reports import Troubles


def newer(database: Database, *, serves: int) -> int:
    """Leave the database as a program three releases later would, with a migration unknown to this one."""
    release = schema_objects.numbered().release + 3
    database.rows("update ourvidz.schema_objects set digest = 'newer', release = %s where kind = 'layer'", (release,))
    database.rows("update ourvidz.alembic_version set version_num = '9999'")
    database.rows(f"create or replace function ourvidz.oldest_served() returns integer language sql immutable as 'select {serves}'")
    return release


def line(doctor: list[dict[str, str]], what: str) -> dict[str, str]:
    (found,) = (one for one in doctor if one["what"] == what)
    return found


def test_a_newer_schema_that_serves_this_program(ourvidz: Command, database: Database) -> None:
    release = newer(database, serves=schema_objects.numbered().release)
    answer = ourvidz("doctor", "--json")
    schema = line(answer.json, "schema")
    assert schema["state"] == "ok" and not schema["remedy"]
    assert schema["found"] == f"a newer schema, release {release}; this program is of release {release - 3}, and served"
    assert answer.code == 0, answer.out
    assert not any(one["state"] == "missing" for one in answer.json)


def seen(database: Database) -> list[dict[str, str]]:
    """`doctor`'s lines about the database."""
    app = App(Config(database_url=database.url))  # type: ignore[arg-type]
    return [one.__dict__ for one in doctor_checks._server(app, database)]


def test_a_newer_schema_that_does_not_serve_is_refused_with_a_remedy(database: Database) -> None:
    newer(database, serves=schema_objects.numbered().release + 1)
    schema = line(seen(database), "schema")
    assert (schema["state"], schema["remedy"]) == ("missing", "Install the newer program on this machine.")
    with pytest.raises(NotServed, match="no longer serves this program"):
        _ = App(Config(database_url=database.url)).database  # type: ignore[arg-type]


@pytest.mark.new_database
def test_a_read_only_server_is_reported_with_its_cause(server: Server, database_name: str, database: Database) -> None:
    switch = Switch(server, database_name)
    switch.read_only(on=True)
    found = seen(database)
    told = line(found, "server")
    assert told["state"] == "missing"
    assert "takes no writes: default_transaction_read_only is on for this database" in told["found"]
    assert f"alter database {database_name} reset default_transaction_read_only" in told["remedy"]
    assert [one["what"] for one in found if one["state"] == "missing"] == ["server"], "nothing else is wrong"
    console = Console(width=100, file=io.StringIO())
    told = top.figures(database, Troubles(None))
    assert told["takes_writes"] is False
    console.print(page(told, 100))
    assert "takes no writes" in console.file.getvalue()  # type: ignore[attr-defined]
    switch.read_only(on=False)
    assert top.figures(database, Troubles(None))["takes_writes"] is True
