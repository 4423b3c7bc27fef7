"""Random drift of production's schema: each drifted database is migrated, or refused by name and left unchanged."""

from __future__ import annotations

import pytest
from drifts import Drift
from public_objects import objects
from reconcile_helpers import foreseen, lives_on, planned

from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate
from ourvidz.db.reconcile import MigrationRefused

IN_CI = 6
NIGHTLY = 100


def ids(database: Database) -> dict[str, set[str]]:
    """The ids of each public table's rows; those of the legacy jobs table under its original name."""
    sql = """select case when c.relname = 'older_jobs' then 'jobs' else c.relname end as name, c.oid::regclass::text as relation
             from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attname = 'id' and not a.attisdropped
             where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace"""
    return {r["name"]: {str(i["id"]) for i in database.rows(f"select id from {r['relation']}")} for r in database.rows(sql)}


def lives_or_is_refused(database: Database, seed: int) -> bool:
    """True if it was migrated."""
    drift = Drift(database, seed).happen()
    before, rows = objects(database), ids(database)
    steps = planned(database)
    assert objects(database) == before, drift
    refusals = [s for s in steps if s.refused]
    if refusals:
        assert all(s.object and s.remedy for s in refusals), (drift, refusals)
        with pytest.raises(MigrationRefused) as said, database.transaction() as connection:
            migrate(connection)
        assert [s.object for s in said.value.refusals] == [s.object for s in refusals], drift
        assert (objects(database), ids(database)) == (before, rows), drift
        return False
    with database.transaction() as connection:
        migrate(connection)
    foreseen(before, objects(database), steps)
    after = ids(database)
    assert {table: found - after[table] for table, found in rows.items() if found - after[table] and table != "user_roles"} == {}, drift
    lives_on(database)
    return True


@pytest.mark.parametrize("seed", range(IN_CI))
def test_a_drifted_database_is_migrated_or_refused(production: Database, seed: int) -> None:
    lives_or_is_refused(production, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(IN_CI, IN_CI + NIGHTLY))
def test_many_drifted_databases_are_migrated_or_refused(production: Database, seed: int) -> None:
    lives_or_is_refused(production, seed)
