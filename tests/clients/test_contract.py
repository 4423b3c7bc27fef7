"""Every request of CLIENTS.md with both libraries on both databases. `make clients` runs it and prints the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .client_site import House
from .drivers import Driver
from .flows import FLOWS, LINES, made
from .table import Flow, Row, listed, run

known_people: dict[tuple[str, str], dict[str, Any]] = {}


@pytest.fixture(scope="module")
def known(house: House, driver: Driver) -> dict[str, Any]:
    """Values for the flows' `$names`: users signed up through this library on this database."""
    at = driver.name.replace("supabase-", "")
    lib = {"name": driver.name, "visitor": f"visitor.{at}@example.org", "namesake": f"visitor.{at}@example.net"}
    return {**house.welcome(driver), "lib": lib}


# Every flow once per database: on the new project with supabase-py, on production with supabase-js, as the deployed front end does. The
# other two pairs run in nightly and `make clients`.
PAIRS = [
    ("fresh", "supabase-py"),
    ("production", "supabase-js"),
    pytest.param("fresh", "supabase-js", marks=pytest.mark.nightly),
    pytest.param("production", "supabase-py", marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("house", "driver"), PAIRS, indirect=True)
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_flow(flow: Flow, house: House, driver: Driver, known: dict[str, Any], record_property: Any) -> None:
    done = run(flow, house, driver, dict(known))
    record_property("clients", [[row, house.name, driver.name, done[row]] for row in listed(flow)])
    assert not (wrong := {row: complaint for row, complaint in done.items() if complaint}), "\n".join(f"{r}: {c}" for r, c in wrong.items())


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["supabase-js"], indirect=True)
@pytest.mark.parametrize("house", ["production"], indirect=True)
@pytest.mark.timeout(600)
def test_made_by_models(house: House, driver: Driver, known: dict[str, Any], tiny_root: Path) -> None:
    """A batch, an image with an enhanced prompt and a video from a first frame, by an executor on tiny models."""
    with house.executor(tiny_root):
        for flow in made.FLOWS:
            assert not (wrong := {row: complaint for row, complaint in run(flow, house, driver, dict(known)).items() if complaint}), wrong


def test_every_line_of_clients_md_section_5_is_covered() -> None:
    answered = {row.line for flow in FLOWS for row in flow.rows if row.line}
    assert answered <= set(LINES), f"no such line: {answered - set(LINES)}"
    elsewhere = {line for line, test in LINES.items() if test}
    assert set(LINES) == answered | elsewhere, f"not answered: {set(LINES) - answered - elsewhere}"
    for test in filter(None, LINES.values()):
        file, _, name = test.partition("::")
        assert f"def {name}(" in (Path(__file__).parents[2] / file).read_text(), f"{test} is not there"


def test_row_ids_are_unique() -> None:
    names = [row.id for flow in FLOWS for row in flow.rows if isinstance(row, Row)]
    assert not {name for name in names if names.count(name) > 1}
