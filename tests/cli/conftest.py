"""Fixtures: the command with this test's database, and with one that must never be reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import Command, environment

from ourvidz.db.connection import Database


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes minutes")


@pytest.fixture
def ourvidz(database: Database, tmp_path: Path) -> Command:
    return Command(environment(tmp_path / "home", DATABASE_URL=database.url), tmp_path)


@pytest.fixture
def bare(tmp_path: Path) -> Command:
    """The command with an unreachable database: anything it refuses, it must refuse before connecting."""
    return Command(environment(tmp_path / "home", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"), tmp_path)


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    from PIL import Image

    def make(name: str = "picture.png", size: tuple[int, int] = (96, 96)) -> Path:
        path = tmp_path / name
        Image.linear_gradient("L").resize(size).convert("RGB").save(path)
        return path

    return make
