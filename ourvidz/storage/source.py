"""The file to store: open it, hash it, and compare it with the object that exists."""

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
    """Open the file to store. Raises `SourceLost`, also if it is empty or not a regular file."""
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
    """Size in bytes and sha256 of the rest of the file."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def settle(present: Stored, sha256: str) -> Stored:
    """Return the existing object if it has this content. Raises `ObjectExists` otherwise."""
    if present.sha256 != sha256:
        raise ObjectExists(f"{present.path!r} in bucket {present.bucket!r} already holds other content")
    return present
