"""One Storage face for all the files here; each test has it empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_site import Face, Line, a_face

from .artifact_store import BUCKETS


@pytest.fixture(scope="session")
def standing_face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    root: Path = tmp_path_factory.mktemp("storage")
    with a_face(root) as face:
        yield face


@pytest.fixture
def face(standing_face: Face) -> Face:
    standing_face.clear(BUCKETS)
    return standing_face


@pytest.fixture
def line(face: Face) -> Iterator[Line]:
    with Line(face.url) as line:
        yield line
