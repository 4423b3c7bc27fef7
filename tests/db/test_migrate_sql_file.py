"""The file of `ourvidz migrate --sql` does the same as `ourvidz migrate` on every database, and nothing when run again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from catalogs import catalog, rights
from other_releases import ADDED, program
from waiting import LIMIT

from ourvidz.db import plain_sql, schema_objects
from ourvidz.db.cluster import find_binaries
from ourvidz.db.connection import Database
from ourvidz.db.conninfo import conninfo
from ourvidz.db.migrate import migrate

COPIES = """select table_name from information_schema.tables
            where table_schema = 'ourvidz' and table_type = 'BASE TABLE' and table_name <> 'older_jobs'"""


def psql(database: Database, file: Path) -> subprocess.CompletedProcess[str]:
    """Runs the file as the database's owner, who is no superuser."""
    binary = next(find_binaries()).folder / "psql"
    command = [str(binary), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file), conninfo(database.url)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)


def whole(database: Database) -> dict[str, object]:
    """Catalogs, rights and rows, without times and random values."""
    rows = {
        table: database.rows(
            f"select (to_jsonb(t) - %s::text[])::text as row from ourvidz.{table} as t order by 1",
            (["at", "applied_at", "asked_at", "decided_at", "secret", "id", "since", "database_oid"],),
        )
        for table in (r["table_name"] for r in database.rows(COPIES))
    }
    counts = [json.loads(counted["row"]) for counted in rows.pop("row_counts", [])]
    sizes = {(one["name"], one["owner"], one["rows"]): one["bytes"] for one in counts}
    jobs = database.rows("select id, status, job_type, user_id from public.jobs order by id")
    return {"catalog": catalog(database), "rights": rights(database), "rows": rows, "sizes": sizes, "jobs": jobs}


@pytest.fixture(scope="module")
def migrated() -> dict[str, dict[str, object]]:
    """Results of `migrate`, by kind of database."""
    return {}


@pytest.mark.parametrize(("kind", "asked"), [("empty", False), ("production", False), ("of_0003", False), ("of_0003", True)])
def test_the_sql_file_does_the_same_as_migrate(
    made: Callable[[str], Database], migrated: dict[str, dict[str, object]], tmp_path: Path, kind: str, asked: bool
) -> None:
    """`asked`: the file is written for this very database, and holds only the migrations it lacks."""
    if kind not in migrated:
        database = made(kind)
        with database.transaction() as connection:
            migrate(connection)
        migrated[kind] = whole(database)
    wanted, run = migrated[kind], made(kind)
    with run.transaction() as connection:
        text = plain_sql.write(connection if asked else None)
    file = tmp_path / "ourvidz.sql"
    file.write_text(text)
    assert ("-- 0001: " in text) is not asked and "-- 0004: " in text
    done = psql(run, file)
    assert done.returncode == 0, done.stderr[-3000:]
    found = whole(run)
    assert found.keys() == wanted.keys()
    for part, value in wanted.items():
        # Row sizes include times as text, whose trailing zeros are omitted.
        assert found[part] == (pytest.approx(value, abs=50) if part == "sizes" else value), part
    written = run.rows("select xmin, * from ourvidz.schema_objects")
    with run.transaction() as connection:
        assert schema_objects.standing(connection) is schema_objects.Standing.CURRENT
        migrate(connection)
    assert psql(run, file).returncode == 0 and whole(run) == found
    assert run.rows("select xmin, * from ourvidz.schema_objects") == written


def test_an_older_sql_file_does_not_change_a_newer_database(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ourvidz.sql"
    file.write_text(plain_sql.write())
    with program(monkeypatch, functions__submit__priority_offset=ADDED), database.transaction() as connection:
        schema_objects.apply(connection)
    before = catalog(database)
    done = psql(database, file)
    assert done.returncode != 0 and "this file is of release" in done.stderr
    assert catalog(database) == before
