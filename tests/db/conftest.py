"""What several files of database tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from api import Api, api_of
from support import Server

from ourvidz.db.connection import Database


@pytest.fixture(scope="module")
def shared(server: Server, template: str) -> Iterator[Database]:
    """One database for all the examples of a module's properties: each brings its own jobs."""
    name = server.create(template)
    database = Database(server.url(name))
    yield database
    database.close()
    server.drop(name)


@pytest.fixture
def api(server: Server, database_name: str, database: Database) -> Iterator[Api]:
    with api_of(server, database_name) as found:
        yield found
