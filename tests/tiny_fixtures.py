"""The tiny models, made and loaded once a session for every test that asks."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def folder_of(which: Sequence[str], run: str, *, random: bool) -> Iterator[Path]:
    """A model folder that the processes of a test run share: the first makes it, the last deletes it. `run`: testrun_uid.

    Outside pytest's own folders, which only their owner may enter: some executors of the tests run as other users.
    """
    from executors.models.tiny import make_tiny

    base = Path(tempfile.gettempdir(), f"ourvidz-models-{run}-{'random' if random else 'taught'}-{''.join(name[0] for name in which)}")
    fd = _used(base)
    try:
        with (base / "lock").open("w") as making:
            fcntl.flock(making, fcntl.LOCK_EX)
            if not (base / "tiny").exists():
                make_tiny(base / "making", lambda _: None, which, random=random)
                (base / "making").chmod(0o755)
                (base / "making").rename(base / "tiny")
        gc.collect()  # as tests/conftest.py does: torch, diffusers and transformers are imported now
        gc.freeze()
        yield base / "tiny"
        with contextlib.suppress(BlockingIOError):  # another process reads it still
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(base, ignore_errors=True)
    finally:
        os.close(fd)


def _used(folder: Path) -> int:
    """A shared lock on that folder, which is made where it is missing, and not on one that its last user has deleted meanwhile."""
    while True:
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)  # whatever the umask
        try:
            fd = os.open(folder, os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_SH)
            if os.fstat(fd).st_ino == folder.stat().st_ino:
                return fd
            os.close(fd)
        except FileNotFoundError:
            continue


@pytest.fixture(scope="session")
def tiny_root(one_thread: None, testrun_uid: str) -> Iterator[Path]:
    """A model folder with every tiny model, of random weights: noise that differs whenever any input does. Tests read it; one that damages
    files works on a copy."""
    with folder_of(("sdxl", "wan", "qwen"), testrun_uid, random=True) as root:
        yield root


@pytest.fixture(scope="session")
def taught_root(one_thread: None, testrun_uid: str) -> Iterator[Path]:
    """The same with the weights that were taught: what is drawn is what was asked for (tests/content)."""
    with folder_of(("sdxl", "wan", "qwen"), testrun_uid, random=False) as root:
        yield root


@pytest.fixture(scope="session")
def taught_qwen(one_thread: None, testrun_uid: str) -> Iterator[Path]:
    """Only the taught Qwen: enhancer and guard."""
    with folder_of(("qwen",), testrun_uid, random=False) as root:
        yield root


def on_device(root: Path) -> Shelf:
    """A shelf whose families and enhancer are loaded."""
    from executors.shelf import Shelf

    shelf = Shelf(root)
    for lane in ("sdxl", "wan"):
        shelf.family(lane)
    shelf.enhancer()
    return shelf


@pytest.fixture(scope="session")
def loaded(tiny_root: Path) -> Shelf:
    return on_device(tiny_root)
