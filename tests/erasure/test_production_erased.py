"""OurVidz's production database after our migration: a word is planted in every column that an erasure covers, and none of it remains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from erasure_fixture import dump, holding
from production_copy import ANNA, BORIS
from support import Permissive, Server
from test_every_column import HOLDS_NONE

from ourvidz.audit import audit
from ourvidz.db import safety
from ourvidz.db.connection import Database
from ourvidz.db.erasure_rules import RULES
from ourvidz.erasure import Eraser
from ourvidz.lifecycle import Jobs
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS

WORD = "zanzibar"
AS = {"jsonb": f"""'{{"said": "{WORD}"}}'""", "ARRAY": f"array['{WORD}']"}
COLUMNS = """select column_name, data_type from information_schema.columns where table_schema || '.' || table_name = %s
             and data_type in ('text', 'character varying', 'jsonb', 'ARRAY') and is_generated = 'NEVER'"""


def planted(superuser: psycopg.Connection[Any], user: str) -> set[tuple[str, str]]:
    """Write the word into the user's rows, past every trigger; returns the columns that accepted it."""
    found = set()
    off = [
        table for (table,) in superuser.execute("select tgrelid::regclass::text from pg_trigger where tgname = 'replica_guard'").fetchall()
    ]
    for table in off:
        superuser.execute(f"alter table {table} disable trigger user")  # type: ignore[call-overload]
    for rule in RULES:
        for column, kind in superuser.execute(COLUMNS, (rule.table,)).fetchall():
            if column in HOLDS_NONE.get(rule.table, ()):
                continue  # holds no user text (tests/erasure/test_every_column.py)
            value = AS.get(kind, f"'{WORD}' || substr(gen_random_uuid()::text, 1, 8)")
            whose = rule.whose.replace("$1", f"'{user}'::uuid")
            try:
                if superuser.execute(f'update {rule.table} set "{column}" = {value} where {whose}').rowcount:  # type: ignore[call-overload]
                    found.add((rule.table, column))
            except psycopg.DatabaseError:
                continue  # restricted to a list or pattern, or written by events only
    for table in off:
        superuser.execute(f"alter table {table} enable trigger user")  # type: ignore[call-overload]
    return found


@pytest.fixture
def superuser(server: Server, migrated_production: Database) -> psycopg.Connection[Any]:
    name = migrated_production.rows("select current_database() as name")[0]["name"]
    return psycopg.connect(server.url(name, superuser=True), autocommit=True)


def test_erasure_clears_every_column_of_production(
    migrated_production: Database, superuser: psycopg.Connection[Any], tmp_path: Path
) -> None:
    database = migrated_production
    database.rows("create table public.favourites (owner uuid references public.profiles, note text)")
    database.rows("insert into public.favourites values (%s, 'a note')", (ANNA,))
    test = """insert into public.model_test_results (user_id, model_type, prompt_text, test_series, test_tier)
              values (%s, 'SDXL', 'x', 'y', 'artistic')"""
    database.rows(test, (ANNA,))
    safety.attest(database, ANNA, "c3" * 32, "v1")
    store = FolderStore(tmp_path, BUCKETS)
    older_bucket = tmp_path / "videos" / ANNA / "made.mp4"  # a bucket that is in no catalog
    older_bucket.parent.mkdir(parents=True)
    older_bucket.write_text(WORD)
    there = planted(superuser, ANNA)
    tables = {table for table, _ in there}
    assert {rule.table for rule in RULES if rule.table.startswith("public.")} - tables == {"public.user_roles", "public.artifacts"}
    assert holding(dump(superuser), WORD) == tables and len(there) > 60
    others = superuser.execute("select count(*) from public.images where user_id = %s", (BORIS,)).fetchone()

    done = Eraser(Jobs(database, Permissive()), store, tmp_path / "spool").erase(ANNA, by="test")

    assert holding(dump(superuser), WORD) == set() and not older_bucket.exists()
    assert superuser.execute("select count(*) from public.images where user_id = %s", (BORIS,)).fetchone() == others != (0,)
    assert [line for line in done.remains if "public.favourites (owner, 1)" in line] and done.counts["objects"] == 1
    assert audit(database).findings == ()
    superuser.close()
