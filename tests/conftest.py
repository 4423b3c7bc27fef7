"""Real Postgres for every test: one embedded server per session, one migrated template, and copies of it that tests reuse.

`OURVIDZ_TEST_POSTGRES`, a superuser's URL, runs the tests on that server instead: CI uses it for each supported Postgres version.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache

import httpx
import psycopg
import pytest
import slow_first
from hypothesis import settings
from psycopg.conninfo import conninfo_to_dict
from reused_databases import Databases, Recycled, closed, opened
from support import OWNER, Clock, Permissive, Server, embedded_server, make_migrated, new_user

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

# Every httpx.Client loads the trusted certificates: 20 ms of CPU each, and tests make thousands of clients for local servers. Load them
# once. The program's own clients use another context (ourvidz.outbound.clients).
httpx._transports.default.create_ssl_context = cache(httpx.create_ssl_context)

pytest_plugins = ["browser", "stack_fixtures", "storage_site", "production_copy", "tiny_fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    """Keep this process out of the real home: what it accepts and caches there would outlive the run, and meet the next one's paths."""
    home = tempfile.TemporaryDirectory(prefix="ourvidz-home-")
    config.add_cleanup(home.cleanup)
    os.environ["OURVIDZ_HOME"] = home.name


settings.register_profile("default", deadline=None, print_blob=True)
settings.load_profile("default")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if given := os.environ.get("OURVIDZ_TEST_POSTGRES"):
        yield Server(given, _owner_of(given))
        return
    with embedded_server(tmp_path_factory.mktemp) as found:
        yield found


def _owner_of(superuser_url: str) -> str:
    """Create a role like Supabase's `postgres` on an external server: owner of the databases, not a superuser."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        if not connection.execute("select 1 from pg_roles where rolname = %s", (OWNER,)).fetchone():
            connection.execute(f"create role {OWNER} login createrole bypassrls password '{OWNER}'")
    parts = conninfo_to_dict(superuser_url)
    host, port = parts.get("host", "localhost"), parts.get("port", 5432)
    if str(host).startswith("/"):
        return f"postgresql://{OWNER}@/postgres?host={host}&port={port}"
    return f"postgresql://{OWNER}:{OWNER}@{host}:{port}/postgres"


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """Name of a migrated database to copy from. Nothing may stay connected to it."""
    name = make_migrated(server)
    yield name
    server.drop(name)


@pytest.fixture(scope="session")
def databases(server: Server, template: str) -> Iterator[Databases]:
    found = Databases(server, template)
    yield found
    found.close()


@pytest.fixture(scope="session")
def clocked_databases(server: Server, template: str) -> Iterator[Databases]:
    """Databases whose schema has what `Clock` needs."""
    name = server.create(template, prefix="clocked")
    database = Database(server.url(name))
    Clock.prepare(database)
    database.close()
    found = Databases(server, name)
    yield found
    found.close()
    server.drop(name)


@pytest.fixture
def _recycled(request: pytest.FixtureRequest) -> Iterator[Recycled]:
    databases = request.getfixturevalue("clocked_databases" if "clock" in request.fixturenames else "databases")
    found = databases.take()
    yield found
    databases.give_back(found, by=request.path)


@pytest.fixture
def database_name(request: pytest.FixtureRequest, server: Server) -> Iterator[str]:
    """A migrated database for this test alone: a new one if the test is marked `new_database`, else possibly one that an earlier test used,
    emptied (tests/reused_databases.py)."""
    if not request.node.get_closest_marker("new_database"):
        yield request.getfixturevalue("_recycled").name
        return
    name = server.create(request.getfixturevalue("template"))
    yield name
    server.drop(name)


@pytest.fixture
def database(request: pytest.FixtureRequest, server: Server, database_name: str) -> Iterator[Database]:
    """The test's database, connected as its owner."""
    if request.node.get_closest_marker("new_database"):
        database = Database(server.url(database_name))
        yield database
        database.close()
        return
    found = request.getfixturevalue("_recycled")
    database = opened(server.url(database_name), found)
    yield database
    closed(database, found)


@pytest.fixture
def superuser(server: Server, database_name: str, database: Database) -> Iterator[psycopg.Connection]:
    """The same database as the server's superuser, who alone can tamper with it."""
    with psycopg.connect(server.url(database_name, superuser=True), autocommit=True) as connection:
        yield connection


@pytest.fixture
def jobs(database: Database) -> Jobs:
    """`Jobs` with a screen that allows everything."""
    return Jobs(database, Permissive(), patience=20)


@pytest.fixture
def user(database: Database) -> Callable[..., str]:
    """Makes a profile and returns its id: `user()`, `user("premium")`, `user(verified=False)`, `user(tokens=3)`."""
    return lambda plan="free", **more: new_user(database, plan, **more)


@pytest.fixture
def clock(database: Database) -> Clock:
    """The database's clock, stopped at `clock.at` until the test moves it."""
    return Clock(database)


def pytest_xdist_auto_num_workers() -> int:
    """Cores plus one, at most 8: workers at times wait for a process, a lease or a server. Each worker has its own server and models, some
    20 s of CPU; on two cores a fourth worker cost more than it gained."""
    return min(8, (os.cpu_count() or 1) + 1)


def pytest_collection_finish() -> None:
    """Freeze all objects imported so far: the collector would walk through a million of them each time. (After "out of memory" a job calls
    it explicitly, which took a second of CPU.)"""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow_first.first(items)


# In CI a skipped test or an expected failure fails the session and is listed: the one was not run, the other not fixed.

_skipped: list[str] = []


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        _skipped.append(f"{report.nodeid}: {reason}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped and os.environ.get("CI") == "true" and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped and os.environ.get("CI") == "true":
        terminalreporter.section("skipped tests fail in CI", red=True)
        for line in _skipped:
            terminalreporter.line(line)
