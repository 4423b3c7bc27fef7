"""Private copy of a folder's pinned files, hashed while copying: the bytes checked are the bytes loaded, whoever can write there."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from executors.errors import ModelFileError
from executors.models.files import read_manifest
from executors.models.seen import MANIFEST

PIECE = 1 << 20


@contextmanager
def snapshot(folder: Path, *, limit: int) -> Iterator[Path]:
    """Yield a copy of at most `limit` bytes, removed at the end of the block. Raises `ModelFileError` for a folder without pins, and naming
    a file that is missing, is a link, or does not match its pin."""
    pins = read_manifest(folder)["files"]
    if not pins:
        raise ModelFileError(
            f"its files are not pinned in {MANIFEST}. Look at where they come from, then run `ourvidz models pin --screen`"
        )
    if (size := sum(int(pin["bytes"]) for pin in pins.values())) > limit:
        raise ModelFileError(f"its files have {size:,} bytes; at most {limit:,} are copied")
    with tempfile.TemporaryDirectory(prefix="ourvidz-screen-") as made:  # mode 0700
        for name, pin in pins.items():
            if "/" in name or name.startswith("."):
                raise ModelFileError(f"{name!r} is not a plain file of this folder")
            copy(folder / name, Path(made) / name, pin)
        yield Path(made)


def copy(source: Path, target: Path, pin: dict[str, object]) -> None:
    """Copy one file and check it against its pin (`{"bytes", "sha256"}`). Raises `ModelFileError`; does not follow links."""
    try:
        held = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ModelFileError(f"{source.name} cannot be read, or is a link ({error.strerror})") from error
    digest, left = hashlib.sha256(), int(str(pin["bytes"]))
    with os.fdopen(held, "rb") as stream, target.open("xb") as out:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ModelFileError(f"{source.name} is not a plain file")
        while piece := stream.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            digest.update(piece)
            out.write(piece)
    if left or digest.hexdigest() != pin["sha256"]:
        raise ModelFileError(f"{source.name} is not what {MANIFEST} pins: it was changed, or not fetched whole")
