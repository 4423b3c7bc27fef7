"""The tiny models, created and loaded once per session for all tests."""

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
    """One torch thread, as in the forked executors, so that pixels from both can be compared. A second thread gains nothing on tensors this
    small, and on a busy machine loses most of its time waiting (measured: 7×)."""
    pytest.importorskip("torch").set_num_threads(1)


@contextmanager
def folder_of(which: Sequence[str], run: str, *, random: bool) -> Iterator[Path]:
    """A model folder shared by the processes of a test run: the first creates it, the last deletes it. `run`: testrun_uid.

    Outside pytest's own folders, which only their owner may enter: some test executors run as other users.
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
        with contextlib.suppress(BlockingIOError):  # another process is still reading it
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(base, ignore_errors=True)
    finally:
        os.close(fd)


def _used(folder: Path) -> int:
    """Return a shared lock on the folder, created if missing; never on one that its last user has deleted meanwhile."""
    while True:
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)  # independent of the umask
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
    """A model folder with every tiny model, with random weights: the noise differs whenever any input does. Read-only; a test that damages
    files works on a copy."""
    with folder_of(("sdxl", "wan", "qwen"), testrun_uid, random=True) as root:
        yield root


@pytest.fixture(scope="session")
def taught_root(one_thread: None, testrun_uid: str) -> Iterator[Path]:
    """The same with trained weights: outputs match their prompts (tests/content)."""
    with folder_of(("sdxl", "wan", "qwen"), testrun_uid, random=False) as root:
        yield root


@pytest.fixture(scope="session")
def taught_qwen(one_thread: None, testrun_uid: str) -> Iterator[Path]:
    """Only the trained Qwen: enhancer and guard."""
    with folder_of(("qwen",), testrun_uid, random=False) as root:
        yield root


def on_device(root: Path) -> Shelf:
    """A shelf with families and enhancer loaded."""
    from executors.shelf import Shelf

    shelf = Shelf(root)
    for lane in ("sdxl", "wan"):
        shelf.family(lane)
    shelf.enhancer()
    return shelf


@pytest.fixture(scope="session")
def loaded(tiny_root: Path) -> Shelf:
    return on_device(tiny_root)
