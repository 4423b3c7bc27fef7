"""Executors for attacks that need them: the site of tests/executors with its tiny but real models, created when a test asks for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.append(str(Path(__file__).parents[1] / "executors"))  # site_of

if TYPE_CHECKING:
    from executor_site import Site
    from support import Server

    from executors.shelf import Shelf


@pytest.fixture(scope="module")
def site(server: Server, template: str, loaded: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for a module; each test looks only at its own jobs. The workers poll."""
    from executor_site import Silence, Site

    from ourvidz.db.connection import Database

    name = server.create(template)
    database = Database(server.url(name))
    made = Site(database, loaded, tmp_path_factory.mktemp("site"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("executors.worker.Listener", Silence)
        patch.setattr("executors.worker.POLL", 0.1)
        yield made
        made.close()
    database.close()
    server.drop(name)
