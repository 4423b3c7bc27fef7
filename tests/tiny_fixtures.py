"""The tiny models, made and loaded once a session for every test that asks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from executors.shelf import Shelf


@pytest.fixture(scope="session")
def one_thread() -> None:
    """As in the forked executors, so that pixels made here and there can be compared. Tensors this small gain nothing from a second
    thread, and on a busy machine lose most of their time waiting for it (measured: 7×)."""
    pytest.importorskip("torch").set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_root(one_thread: None) -> Iterator[Path]:
    """A model folder with every tiny model. Tests read it; one that damages files works on a copy.

    Outside pytest's own folders, which only their owner may enter: some executors of the tests run as other users.
    """
    from executors.models.tiny import make_tiny

    base = Path(tempfile.mkdtemp(prefix="ourvidz-models-"))
    base.chmod(0o755)
    make_tiny(base / "tiny", lambda _: None)
    (base / "tiny").chmod(0o755)
    yield base / "tiny"
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def loaded(tiny_root: Path) -> Shelf:
    """A shelf whose families and enhancer are on the device."""
    from executors.shelf import Shelf

    shelf = Shelf(tiny_root)
    for lane in ("sdxl", "wan"):
        shelf.family(lane)
    shelf.enhancer()
    return shelf
