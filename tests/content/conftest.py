"""The product's own families, executors and profiles with the trained tiny models; outputs are judged by their pixels (judge.py)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tiny_fixtures import on_device

sys.path.append(str(Path(__file__).parents[1] / "executors"))  # site_of

if TYPE_CHECKING:
    from executor_site import Site

    from executors.shelf import Shelf
    from ourvidz.db.connection import Database


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None: ...


@pytest.fixture(scope="session")
def taught_shelf(taught_root: Path) -> Shelf:
    return on_device(taught_root)


@pytest.fixture
def site(database: Database, taught_shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """This test's own database and store, for executors with the trained models."""
    from executor_site import Silence, Site

    monkeypatch.setattr("executors.worker.Listener", Silence)
    monkeypatch.setattr("executors.worker.POLL", 0.1)
    site = Site(database, taught_shelf, tmp_path)
    yield site
    site.close()
