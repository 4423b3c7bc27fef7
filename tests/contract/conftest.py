"""The test Storage server, emptied for each test, with the contract's buckets; and a breakable connection to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from storage_site import Face, Line

from .artifact_store import BUCKETS


@pytest.fixture
def face(standing_face: Face) -> Face:
    standing_face.clear(BUCKETS)
    return standing_face


@pytest.fixture
def line(face: Face) -> Iterator[Line]:
    with Line(face.url) as line:
        yield line
