"""A database that will not let us in is told from one that is away: the first is said at once, the second is waited for."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import make_url
from support import Server

from ourvidz.db.connection import Database, DatabaseAway, DatabaseRefused


def refused(url: str) -> str:
    began = time.monotonic()
    with pytest.raises(DatabaseRefused) as error:
        Database(url).patient("select 1", patience=60)
    assert time.monotonic() - began < 30, "it was waited for"
    return str(error.value)


def test_a_role_or_database_that_is_not_there(server: Server, template: str) -> None:
    url = make_url(server.url(template))
    assert "DATABASE_URL" in refused(url.set(username="nobody_of_that_name").render_as_string(False))
    assert '"no_such_database"' in refused(url.set(database="no_such_database").render_as_string(False))


def test_a_role_that_may_not_log_in(server: Server, template: str) -> None:
    server.admin("alter role ourvidz_analyst password 'of-a-test'")  # a password is asked for before the right to log in
    try:
        url = make_url(server.url(template)).set(username="ourvidz_analyst", password="of-a-test")
        assert "not permitted to log in" in refused(url.render_as_string(False))
    finally:
        server.admin("alter role ourvidz_analyst password null")


def test_a_server_that_is_not_there_is_waited_for(server: Server, template: str) -> None:
    host = "/nowhere-at-all"
    url = make_url(server.url(template)).update_query_dict({"host": host}).render_as_string(False)
    with pytest.raises(DatabaseAway) as error:
        Database(url).patient("select 1", patience=0.5)
    assert not isinstance(error.value, DatabaseRefused)
    assert "cannot be reached" in str(error.value)
