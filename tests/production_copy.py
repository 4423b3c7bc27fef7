"""OurVidz's production database of July 2025 (tests/data/production*.sql), before and after our migration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from supabase_shape import supabase_database
from support import Server, as_template

from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate

DATA = Path(__file__).parent / "data"
ANNA, BORIS, CLARA, DORA, SECOND_ANNA = (f"00000000-0000-4000-8000-00000000000{letter}" for letter in "abcde")
TYPES = (
    "sdxl_image_fast", "sdxl_image_high", "image_fast", "image_high", "video_fast", "video_high",
    "image7b_fast_enhanced", "image7b_high_enhanced", "video7b_fast_enhanced", "video7b_high_enhanced",
)  # fmt: skip
STATUSES = ("queued", "processing", "failed", "completed")


def older_job(job_type: str, status: str) -> str:
    """Id of production's one job of this type and status ("processing" and "queued" are the unfinished ones)."""
    return f"00000000-0000-4001-8000-0000000000{TYPES.index(job_type)}{STATUSES.index(status)}"


def older_owner(job_type: str) -> str:
    return (ANNA, BORIS, CLARA)[TYPES.index(job_type) % 3]


def production_database(server: Server, *, rows: bool = True) -> str:
    """Create a database like production's and return its name. The caller drops it."""
    name = supabase_database(server)
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute((DATA / "production.sql").read_text())
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as connection:
        connection.execute((DATA / "production_storage.sql").read_text())
    if rows:
        with psycopg.connect(server.url(name), autocommit=True) as connection:
            connection.execute((DATA / "production_rows.sql").read_text())
    return name


def migrated(database: Database, **options: Any) -> Database:
    with database.transaction() as connection:
        migrate(connection, **options)
    return database


@pytest.fixture(scope="session")
def production_template(server: Server, template: str) -> Iterator[str]:
    """Production with its rows, not migrated, to copy from: nothing may stay connected. Needs `template`, which applies a mutant, first."""
    name = production_database(server)
    yield name
    server.drop(name)


@pytest.fixture(scope="session")
def migrated_template(server: Server, production_template: str) -> Iterator[str]:
    """Production with its rows after our migration, run without options that trust legacy data. To copy from."""
    name = server.create(production_template, prefix="migrated")
    database = Database(server.url(name))
    as_template(migrated(database))
    database.close()
    server.settle(name)
    yield name
    server.drop(name)


def _copy_of(server: Server, template: str) -> Iterator[Database]:
    name = server.create(template)
    database = Database(server.url(name))
    yield database
    database.close()
    server.drop(name)


@pytest.fixture
def production(server: Server, production_template: str) -> Iterator[Database]:
    """This test's own copy of production before our migration, connected as its owner."""
    yield from _copy_of(server, production_template)


@pytest.fixture
def migrated_production(server: Server, migrated_template: str) -> Iterator[Database]:
    """This test's own copy of production after our migration, connected as its owner."""
    yield from _copy_of(server, migrated_template)
