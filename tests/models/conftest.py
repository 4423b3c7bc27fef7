"""Tests of the model families."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None: ...
