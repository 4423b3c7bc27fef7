"""Fixtures for both databases with their stacks and both libraries, and the table printed at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest
from support import Server

from ourvidz.dev.parts import Parts

from .client_site import House, opened
from .drivers import Driver, JavaScript, Python

COLUMNS = [(house, driver) for house in ("fresh", "production") for driver in ("supabase-js", "supabase-py")]


@pytest.fixture(scope="module", params=["fresh", "production"])
def house(request: pytest.FixtureRequest, server: Server, parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A migrated empty project and a migrated copy of production, each with its stack."""
    template: str = request.getfixturevalue("template" if request.param == "fresh" else "migrated_template")
    database = server.create(template)
    with opened(request.param, database, server, parts, tmp_path_factory.mktemp(request.param)) as found:
        yield found
    server.drop(database)


@pytest.fixture(scope="module", params=["supabase-js", "supabase-py"])
def driver(request: pytest.FixtureRequest, house: House, parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    found: Driver = Python()
    if request.param == "supabase-js":
        found = JavaScript(parts, house.project.url, house.project.anon_key, tmp_path_factory.mktemp("js"))
    yield found
    found.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each request by database and library. Only if these tests were selected by name: a full run loads this file too late."""
    table: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, rows in getattr(report, "user_properties", []):
                if name == "clients":
                    for row, house, driver, complaint in rows:
                        table[row][(house, driver)] = "✗" if complaint else "✓"
    if not table:
        return
    terminalreporter.section("client contract")
    width = max(len(row) for row in table)
    terminalreporter.write_line(f"{'request':<{width}}  " + "  ".join(f"{house} {driver[-2:]}" for house, driver in COLUMNS))
    for row, marks in table.items():
        cells = [marks.get(column, "–").center(len(column[0]) + 3) for column in COLUMNS]
        terminalreporter.write_line(f"{row:<{width}}  " + "  ".join(cells))
    good = sum(mark == "✓" for marks in table.values() for mark in marks.values())
    terminalreporter.write_line(f"{good} of {sum(map(len, table.values()))} requests answered as the contract has it")
