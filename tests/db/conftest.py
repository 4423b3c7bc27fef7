"""Fixtures shared by several files of database tests."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from api import Api, api_of
from supabase_shape import supabase_database
from support import Server

from ourvidz.db.connection import Database

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def shared(server: Server, template: str) -> Iterator[Database]:
    """One database for all examples of a module's properties; each example brings its own jobs."""
    name = server.create(template)
    database = Database(server.url(name))
    yield database
    database.close()
    server.drop(name)


@pytest.fixture
def api(server: Server, database_name: str, database: Database) -> Iterator[Api]:
    with api_of(server, database_name) as found:
        yield found


@pytest.fixture(scope="session")
def empty_template(server: Server, template: str) -> Iterator[str]:
    """A new Supabase project, as a template to copy."""
    name = supabase_database(server)
    yield name
    server.drop(name)


@pytest.fixture(scope="session")
def template_of_0003(server: Server, template: str) -> Iterator[str]:
    """A database of release 0003 with some rows, as a template. (`template` ensures that the roles named in its dump exist.)"""
    name = server.create(prefix="of_0003")
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as connection:
        connection.execute(gzip.decompress((DATA / "schema_0003.sql.gz").read_bytes()).decode())
    yield name
    server.drop(name)


@pytest.fixture
def made(server: Server, empty_template: str, production_template: str, template_of_0003: str) -> Iterator[Callable[[str], Database]]:
    """Creates a database of a kind: empty, production or of_0003."""
    templates = {"empty": empty_template, "production": production_template, "of_0003": template_of_0003}
    there: list[tuple[str, Database]] = []

    def make(kind: str) -> Database:
        name = server.create(templates[kind])
        there.append((name, Database(server.url(name))))
        return there[-1][1]

    yield make
    for name, database in there:
        database.close()
        server.drop(name)
