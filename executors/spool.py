"""Outputs on this host's disk between generation and upload, so that a retry here need not generate again. Bounded in size.

Each spool has an id that is stored in the artifact's row: only the host that wrote the bytes looks for them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from executors.errors import DiskFull


class Spool:
    def __init__(self, root: Path, limit: int) -> None:
        """`limit` in bytes, over all jobs."""
        self.root, self.limit = root, limit
        root.mkdir(parents=True, exist_ok=True)
        self.id = self._identity()

    def write(self, job_id: str, name: str, fill: Callable[[Path], object]) -> tuple[Path, str]:
        """Store the file that `fill` writes to a temporary path; returns the final path and sha256. Raises `DiskFull`, leaving no partial
        file."""
        folder = self.root / job_id
        path, temporary = folder / name, folder / f"part-{name}"
        try:
            folder.mkdir(exist_ok=True)
            fill(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())  # before the row records that these bytes are here
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DiskFull(f"no room in the spool {self.root} for {name} of job {job_id}; make room, and it is tried again") from error
            raise
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path, digest

    def find(self, artifact: Mapping[str, Any]) -> Path | None:
        """Return the path of the recorded artifact's file, if this spool has it unchanged."""
        if artifact.get("spool") != self.id:
            return None
        path = self.root / artifact["job_id"] / name_of(artifact)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        return path if digest == artifact["sha256"] else None

    def drop(self, job_id: str) -> None:
        shutil.rmtree(self.root / job_id, ignore_errors=True)

    def sweep(self) -> int:
        """Drop the oldest jobs' outputs until the spool is within its limit. Their jobs are generated again, with the same seeds."""
        jobs = []
        for folder in self.root.iterdir():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # another executor on this host has just finished that job
                files = [f.stat() for f in folder.iterdir()]
                jobs.append((max((f.st_mtime for f in files), default=0.0), sum(f.st_size for f in files), folder.name))
        total, dropped = sum(size for _, size, _ in jobs), 0
        for _, size, name in sorted(jobs):
            if total <= self.limit:
                break
            self.drop(name)
            total, dropped = total - size, dropped + 1
        return dropped

    def _identity(self) -> str:
        path = self.root / "id"
        try:
            if found := path.read_text(encoding="utf-8").strip():
                return found
            path.unlink()  # truncated by a crash: an empty id would be the same on every such host
        except FileNotFoundError:
            pass
        # Written aside and linked: readers see the whole id, and of two executors that start together only one names the spool.
        mine = self.root / f".id-{uuid.uuid4()}"
        with mine.open("x", encoding="utf-8") as file:
            file.write(str(uuid.uuid4()))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(mine)
        mine.unlink()
        return path.read_text(encoding="utf-8").strip()


def name_of(artifact: Mapping[str, Any]) -> str:
    """Return the artifact's file name in the spool. It contains the claim number (the path's last segment begins with it): an executor
    that was suspended in the middle of a file must not write into the next claim's file when it resumes."""
    return f"{artifact['kind']}-{str(artifact['path']).rpartition('/')[2]}"
