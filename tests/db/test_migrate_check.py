"""`ourvidz migrate --check` names every object that `migrate` then changes, refuses what it refuses, and changes nothing itself."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
import pytest
from catalogs import catalog
from other_releases import ADDED, applied, program
from support import Server

from ourvidz.db import migration_plan
from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate


def checked(database: Database) -> list[migration_plan.Step]:
    with database.transaction() as connection:
        return migration_plan.steps(connection)


@pytest.mark.parametrize("kind", ["empty", "production", "of_0003"])
def test_check_names_every_object_that_migrate_changes(made: Callable[[str], Database], kind: str) -> None:
    database = made(kind)
    before = catalog(database)
    with database.transaction() as connection:
        steps = migration_plan.steps(connection)
        locks = connection.exec_driver_sql(
            """select relation::regclass::text, mode from pg_locks where pid = pg_backend_pid() and locktype = 'relation'
               and mode not in ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
               and relation in (select oid from pg_class where relpersistence <> 't' and oid >= 16384)"""
        ).fetchall()
        assert locks == []  # no lock that others would wait for
    assert catalog(database) == before  # nothing was changed
    assert [step.object for step in steps if step.refused] == []
    with database.transaction() as connection:
        migrate(connection)
    after = catalog(database)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert len(changed) > 20
    left = unnamed(changed, steps, after)
    assert not left, "\n".join(left)
    assert checked(database) == []


def unnamed(changed: set[str], steps: list[migration_plan.Step], after: dict[str, str]) -> list[str]:
    """Changed objects that no step names. Objects on a table that is created, moved or dropped count as named with it."""
    said = [set(f"{step.object} {step.detail}".replace('"', "").replace(":", "").split()) for step in steps]
    whole = {words for step in steps if (words := step.object.partition(" ")[2]) and step.object.startswith("table ")}
    whole |= {"ourvidz.older_jobs"} if "public.jobs" in whole else set()

    # An added column brings its own constraints.
    added = {step.object.split()[-1] for step in steps if (step.action, step.object.split()[0]) == ("add", "column")}
    added |= {
        f"{step.object.split()[3]}.{step.object.split()[1]}" for step in steps if step.detail.startswith("added") and " of " in step.object
    }

    def named(name: str) -> bool:
        kind, _, rest = name.partition(" ")
        if kind in ("column", "constraint"):
            table, _, one = rest.rpartition(".")
            if table in whole or any({one, table} <= words or rest in words for words in said):
                return True
            return kind == "constraint" and any(f"{table}.{word}" in added for word in re.findall(r"\w+", after.get(name, "")))
        if kind in ("policy", "trigger", "index"):
            one, _, table = rest.rpartition(" on ")
            return table in whole or any({*one.split(), table} <= words for words in said)
        return any((rest.partition("(")[0] if kind == "function" else rest) in {w.partition("(")[0] for w in words} for words in said)

    return sorted(name for name in changed if not named(name))


def test_check_finds_nothing_in_a_current_database(database: Database) -> None:
    assert checked(database) == []


def test_check_reports_create_replace_and_drop(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.rows("""create policy "anybody" on public.jobs for select to anon using (true)""")
    with program(
        monkeypatch,
        functions__submit__priority_offset=lambda sql: sql.replace("returns", "returns /* a comment changes nothing */", 1),
        functions__submit__salt=ADDED,
        views__queue_depth=lambda sql: sql.replace("group by lane, priority", "group by 1, 2"),
        triggers=lambda sql: sql.replace("old.token_balance > 0", "old.token_balance > 1"),
        policies=lambda sql: sql.replace("'profiles', 'update', 'last_login', 'id =", "'profiles', 'update', 'last_login', 'true and id ="),
    ):
        assert {(step.group, step.action, step.object) for step in checked(database)} >= {
            ("Functions", "create", "ourvidz.added(uuid)"),
            ("Views", "replace", "public.queue_depth"),
            ("Triggers", "replace", "balance_closed on public.profiles"),
            ("Policies", "replace", "authenticated update on public.profiles"),
        }
        assert any("anybody" in step.object for step in checked(database))
        assert not any("priority_offset" in step.object for step in checked(database))
        applied(database)
    with program(monkeypatch, release=2):
        assert ("Functions", "drop", "ourvidz.added(uuid)") in {(step.group, step.action, step.object) for step in checked(database)}


@pytest.mark.parametrize("change", ["dropped", "another result"])
def test_check_refuses_changes_that_other_objects_depend_on(database: Database, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    with program(monkeypatch, functions__submit__priority_offset=ADDED):
        applied(database)
    database.rows("create view public.their_report as select ourvidz.added(null)")
    new = {"functions__submit__priority_offset": ADDED.replace("returns integer", "returns bigint")} if change == "another result" else {}
    with program(monkeypatch, release=2, **new):
        (step,) = (step for step in checked(database) if step.refused)
        assert step.object == "ourvidz.added(uuid)" and "their_report" in (step.refused or "") and step.remedy
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            applied(database)
    with program(monkeypatch, release=2, functions__submit__priority_offset=ADDED.replace("select 1", "select 2")):  # in place: allowed
        assert [step.object for step in checked(database) if step.refused] == []
        assert applied(database)


def test_missing_rights_are_reported_with_their_remedy(server: Server, made: Callable[[str], Database]) -> None:
    database = made("empty")
    server.admin("drop role if exists layer_guest")
    server.admin("create role layer_guest login")
    try:
        with database.transaction() as connection:
            name = connection.exec_driver_sql("select current_database()").scalar_one()
        guest = Database(server.url(name, superuser=True) + "&options=-c%20role%3Dlayer_guest")
        lacks = {step.object: step.remedy for step in checked(guest) if step.group == "Rights"}
        guest.close()
        assert lacks["create tables in schema public"] == "grant create on schema public to layer_guest"
        assert any(what.startswith("create schemas") for what in lacks)
    finally:
        server.admin("drop role layer_guest")
