from __future__ import annotations

from pathlib import Path

import pytest
from erasure_fixture import House

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs


@pytest.fixture
def house(database: Database, jobs: Jobs, tmp_path: Path) -> House:
    return House(database, jobs, tmp_path)
