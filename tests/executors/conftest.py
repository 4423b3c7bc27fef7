"""Executors under test: real tiny models, loaded once per session; a real database; policy times short enough to wait for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

from enhancer_site import Served
from executor_site import ProbeShelf, Silence, Site, Zygote
from support import Server

from executors.shelf import Shelf
from ourvidz.db.connection import Database


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes minutes; `-m 'not slow'` leaves it out")


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None: ...


@pytest.fixture
def shelf(loaded: Shelf) -> ProbeShelf:
    return ProbeShelf(loaded)


@pytest.fixture(autouse=True)
def _unheard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make these tests' workers poll, unless a test requests `listening`. (Ending a LISTEN takes up to a second.)"""
    if "listening" not in request.fixturenames:
        monkeypatch.setattr("executors.worker.Listener", Silence)
        monkeypatch.setattr("executors.worker.POLL", 0.1)


@pytest.fixture
def listening() -> None:
    """Enable the real Listener."""


@pytest.fixture
def site(database: Database, loaded: Shelf, tmp_path: Path) -> Iterator[Site]:
    """This test's own database and store, for executors with separate homes."""
    site = Site(database, loaded, tmp_path)
    yield site
    site.close()


@pytest.fixture(scope="module")
def shared_site(server: Server, template: str, loaded: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site per module, whose tests each check only their own jobs."""
    name = server.create(template)
    database = Database(server.url(name))
    site = Site(database, loaded, tmp_path_factory.mktemp("site"))
    yield site
    site.close()
    database.close()
    server.drop(name)


@pytest.fixture(scope="session")
def zygote(tiny_root: Path) -> Iterator[Zygote]:
    """A process with everything imported and loaded, which forks the processes that tests kill and stop."""
    with Zygote(tiny_root) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def enhancer_folder() -> Iterator[Path]:
    """A short path: a socket's path is limited to about a hundred bytes."""
    made = Path(tempfile.mkdtemp(prefix="ourvidz-e-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def an_enhancer(enhancer_folder: Path, zygote: Zygote) -> Iterator[Callable[..., Served]]:
    """Start an enhancer that the test may kill or stop."""
    made: list[Served] = []

    def start(**more: int) -> Served:
        made.append(Served(zygote, enhancer_folder / "own.sock", **more))
        made[-1].wait("ready")
        return made[-1]

    yield start
    for each in made:
        each.end()
