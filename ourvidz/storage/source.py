"""The file that is to be stored: opened, measured, and found to be the same afterwards."""

from __future__ import annotations

import hashlib
import os
import stat as st
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ourvidz.storage.base import ObjectExists, SourceLost, Stored

CHUNK = 1 << 20


@contextmanager
def opened(source: Path) -> Iterator[BinaryIO]:
    """Raises `SourceLost`, also for an empty file and for what is no file."""
    try:
        file = source.open("rb")
    except OSError as error:
        raise SourceLost(f"cannot read {source.name!r}: {error.strerror}") from error
    with file:
        about = os.fstat(file.fileno())
        if not st.S_ISREG(about.st_mode) or about.st_size == 0:
            raise SourceLost(f"{source.name!r} is empty, or not a file")
        yield file


def hashed(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and sha256 of what is left to read."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def settle(present: Stored, sha256: str) -> Stored:
    """What is at the path already, if it is this content. Raises `ObjectExists`."""
    if present.sha256 != sha256:
        raise ObjectExists(f"{present.path!r} in bucket {present.bucket!r} already holds other content")
    return present
