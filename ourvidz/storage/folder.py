"""An artifact store in a local folder: an object is the file `<root>/<bucket>/<path>`.

No metadata is stored beside the file. Its type is its extension (`put` refuses any other), and its sha256 is computed on request: a
sidecar file could differ from it after a crash between the two writes. The expected hash is in the artifact's row; this store reports
what is on disk now, which is what an audit needs.

Needs a POSIX file system with hard links.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat as st
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import BinaryIO

from ourvidz.storage.base import (
    BucketLimit,
    Entry,
    ObjectExists,
    ObjectMissing,
    ObjectTooLarge,
    PathRefused,
    StorageFull,
    StorageUnavailable,
    Stored,
    admit,
    check_bucket,
    check_path,
    media_type_of,
)
from ourvidz.storage.source import CHUNK, hashed, opened, settle

_TEMP = ".tmp"  # no bucket or object may begin with a dot, so this cannot be one
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A sweep or a delete may remove an empty folder between our creating it and our linking into it. A folder that still vanishes after
# this many tries has another cause.
_TRIES = 8


class FolderStore:
    """An `ArtifactStore` under `root`, which is created if it is missing. Raises `StorageUnavailable` if that fails."""

    def __init__(self, root: Path, buckets: Mapping[str, BucketLimit]) -> None:
        for name in buckets:
            if "/" in check_path(name):
                raise PathRefused(f"a bucket's name holds a slash: {name!r}")
        self._buckets = dict(buckets)
        with _told():
            (root / _TEMP).mkdir(parents=True, exist_ok=True, mode=0o700)
            # A symlink *above* the root is the operator's choice; below it none is followed.
            self._root = root.resolve(strict=True)
            self._sweep_temp()

    def buckets(self) -> Mapping[str, BucketLimit]:
        return self._buckets

    def others(self) -> Sequence[str]:
        with _told():
            found = [place.name for place in self._root.iterdir() if place.is_dir() and not place.is_symlink()]
        return sorted(name for name in found if name not in self._buckets and not name.startswith("."))

    def _check_there(self, bucket: str) -> None:
        if bucket not in self._buckets and bucket not in self.others():
            check_bucket(self._buckets, bucket)  # raises

    def put(self, bucket: str, path: str, source: Path, media_type: str) -> Stored:
        with opened(source) as file:
            size = os.fstat(file.fileno()).st_size
            limit = admit(self._buckets, bucket, path, media_type, size)
            # Before the copy, so that a retry of an upload that succeeded needs no space.
            if (present := self.stat(bucket, path)) is not None:
                return settle(present, hashed(file)[1])
            with _told():
                size, sha256 = self._publish(bucket, path, file, limit.max_bytes)
            return Stored(bucket, path, size, sha256, media_type)

    def open(self, bucket: str, path: str) -> BinaryIO:
        file = self._open(bucket, path)
        if file is None:
            raise ObjectMissing(f"nothing at {path!r} in bucket {bucket!r}")
        return file

    def read(self, bucket: str, path: str) -> bytes:
        with self.open(bucket, path) as file, _told():
            return file.read()

    def stat(self, bucket: str, path: str) -> Stored | None:
        file = self._open(bucket, path)
        if file is None:
            return None
        with file, _told():
            size, sha256 = hashed(file)
        return Stored(bucket, path, size, sha256, media_type_of(path) or "application/octet-stream")

    def list(self, bucket: str, folder: str = "") -> Sequence[str]:
        return sorted(entry.path for entry in self.entries(bucket, folder))

    def entries(self, bucket: str, folder: str = "") -> Iterator[Entry]:
        self._check_there(bucket)
        parts = check_path(folder.rstrip("/")).split("/") if folder else []
        return self._walk(bucket, parts)

    def _walk(self, bucket: str, parts: Sequence[str]) -> Iterator[Entry]:
        with _told(), suppress(FileNotFoundError), self._folder(bucket, *parts) as top:
            # fwalk follows no links. Stray files (.DS_Store) are left out: only names that `open` accepts are listed.
            for where, _, names, fd in os.fwalk(".", dir_fd=top):
                for name in names:
                    path = "/".join([*parts, *Path(where).parts, name])
                    with suppress(PathRefused, FileNotFoundError):
                        about = os.stat(name, dir_fd=fd, follow_symlinks=False)
                        if st.S_ISREG(about.st_mode):
                            yield Entry(check_path(path), about.st_size, datetime.fromtimestamp(about.st_mtime, UTC))

    def sign(self, bucket: str, path: str, seconds: int) -> str:
        self.open(bucket, path).close()
        return self._root.joinpath(bucket, path).as_uri()

    def sweep_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        return self._sweep_temp(before.timestamp(), dry_run)

    def delete(self, bucket: str, path: str) -> bool:
        check_bucket(self._buckets, bucket)
        *folders, name = check_path(path).split("/")
        with _told():
            try:
                with self._folder(bucket, *folders) as fd:
                    os.unlink(name, dir_fd=fd)
                    os.fsync(fd)
            except FileNotFoundError:
                return False
            # Folder names are ids of users and jobs: empty folders are removed too, for erasure.
            with suppress(OSError):
                while folders:
                    *folders, name = folders
                    with self._folder(bucket, *folders) as fd:
                        os.rmdir(name, dir_fd=fd)
        return True

    def move(self, bucket: str, path: str, to_bucket: str, to_path: str) -> bool:
        check_bucket(self._buckets, bucket)
        check_bucket(self._buckets, to_bucket)
        check_path(to_path)
        with _told():
            for _ in range(_TRIES):
                try:
                    self._rename((bucket, *path.split("/")), (to_bucket, *to_path.split("/")))
                    return True
                except FileNotFoundError:
                    if (left := self._open(bucket, check_path(path))) is None:
                        return False
                    left.close()  # the target folder was removed while it was empty
        raise StorageUnavailable(f"the folder of {to_path!r} in bucket {to_bucket!r} was removed again and again")

    def _rename(self, source: Sequence[str], target: Sequence[str]) -> None:
        """Rename with `link`, which fails if the name is taken, where `rename` would overwrite. A crash in between leaves both names, and a
        repetition removes the first."""
        (*folders, name), (*to_folders, to_name) = source, target
        with self._folder(*folders) as before, self._folder(*to_folders, make=True) as after:
            try:
                os.link(name, to_name, src_dir_fd=before, dst_dir_fd=after, follow_symlinks=False)
            except FileExistsError:
                if not os.path.samestat(os.stat(name, dir_fd=before), os.stat(to_name, dir_fd=after)):
                    raise ObjectExists(f"{'/'.join(target)} is another object") from None
            os.fsync(after)
            os.unlink(name, dir_fd=before)
            os.fsync(before)

    def clear(self, bucket: str, folder: str) -> int:
        self._check_there(bucket)
        *above, name = check_path(folder.rstrip("/")).split("/")
        with _told(), suppress(FileNotFoundError), self._folder(bucket, *above) as parent:
            found = sum(len(names) for _, _, names, _ in os.fwalk(name, dir_fd=parent))
            shutil.rmtree(name, dir_fd=parent)  # follows no links
            os.fsync(parent)
            return found
        return 0

    def _open(self, bucket: str, path: str) -> BinaryIO | None:
        check_bucket(self._buckets, bucket)
        *folders, name = check_path(path).split("/")
        with _told():
            try:
                with self._folder(bucket, *folders) as parent:
                    # NONBLOCK: a FIFO placed there must not block us.
                    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            except FileNotFoundError:
                return None
            if not st.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise PathRefused(f"{path!r} in bucket {bucket!r} is not a file")
            return os.fdopen(fd, "rb")

    def _publish(self, bucket: str, path: str, source: BinaryIO, max_bytes: int) -> tuple[int, str]:
        """Write a private file, then give it its name with `link`, which fails where `rename` would overwrite: of two writers
        exactly one gets the name, and no reader ever sees half an object.
        """
        *folders, name = path.split("/")
        temp = self._root / _TEMP / secrets.token_hex(16)
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # tells `_sweep_temp` that the writer is alive
            size, sha256 = _copy(source, fd, max_bytes, bucket)
            os.fsync(fd)
            for _ in range(_TRIES):
                with suppress(FileNotFoundError), self._folder(bucket, *folders, make=True) as parent:
                    try:
                        os.link(temp, name, dst_dir_fd=parent, follow_symlinks=False)
                    except FileExistsError:
                        present = self.stat(bucket, path)
                        if present is None:
                            continue  # deleted since
                        settle(present, sha256)
                    # Also if another writer linked it: it may have died before this line.
                    os.fsync(parent)
                    return size, sha256
        finally:
            with suppress(FileNotFoundError):
                Path(temp).unlink()
            os.close(fd)
        raise StorageUnavailable(f"the folder of {path!r} in bucket {bucket!r} was removed again and again")

    @contextmanager
    def _folder(self, *parts: str, make: bool = False) -> Iterator[int]:
        """Open a folder under the root one component at a time, so that none can be a symbolic link; yields its descriptor."""
        try:
            fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            # Not "nothing there": an unmounted store must not look like an empty one.
            raise StorageUnavailable("the store's root folder is gone") from error
        try:
            for part in parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=fd)
                        os.fsync(fd)
                below = os.open(part, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def _sweep_temp(self, before: float = inf, dry_run: bool = False) -> int:
        """Remove the files of killed writers; returns how many. A living writer holds its file's lock, so no clock is needed."""
        swept = 0
        for temp in (self._root / _TEMP).iterdir():
            with suppress(OSError), temp.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file.fileno()).st_mtime < before:
                    if not dry_run:
                        temp.unlink()
                    swept += 1
        return swept


def _copy(source: BinaryIO, fd: int, max_bytes: int, bucket: str) -> tuple[int, str]:
    """Copy `source` to `fd`; returns size in bytes and sha256. Checks the limit again: the file may have grown since it was admitted."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise ObjectTooLarge(size, max_bytes, bucket)
        digest.update(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(fd, rest) :]
    return size, digest.hexdigest()


@contextmanager
def _told() -> Iterator[None]:
    """Translate `OSError` into the `StorageError` classes."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageFull(f"no room for the object: {error.strerror}") from error
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR):
            raise PathRefused("the path leads through a symbolic link, or through a file, or names a folder") from error
        raise StorageUnavailable(f"the folder store failed: {error.strerror}") from error
