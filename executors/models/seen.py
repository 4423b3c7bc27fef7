"""This machine's cache of model file hashes (SHA-256), and the manifests that it has accepted.

Stored in `OURVIDZ_HOME/models-seen.json`, readable and writable by its user only, so that gigabytes are hashed once and not at every load.
A file is hashed again when its device, inode, size, mtime or ctime has changed. (Programs can set an mtime, not a ctime.) Anyone who can
write the model folder can write its manifest too; so a manifest is accepted once, and a different one is refused until a person accepts it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

from executors.errors import DiskFull, ModelFileError

log = logging.getLogger("ourvidz.models")

FILE = "models-seen.json"
MANIFEST = "manifest.json"
Stamp = tuple[int, int, int, int, int]


def stamp_of(found: os.stat_result) -> Stamp:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Seen:
    """The cache; thread-safe. `file` None: in memory only."""

    def __init__(self, file: Path | None = None) -> None:
        self._file, self._lock = file, threading.Lock()
        self._hashed: dict[str, tuple[Stamp, str]] = {}  # by this process
        self._accepted: dict[str, str] = {}

    def sha256(self, path: Path, *, always: bool = False) -> str:
        """Return the file's SHA-256, from the cache if known. `always`: trust only hashes made by this process. Raises `ModelFileError` for
        a file that changes meanwhile."""
        name = str(path.resolve())
        with path.open("rb") as stream:
            before = stamp_of(os.fstat(stream.fileno()))
            with self._lock:
                known = self._hashed.get(name) or (None if always else self._kept()["files"].get(name))
            if known and tuple(known[0]) == before:
                return str(known[1])
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if stamp_of(os.fstat(stream.fileno())) != before:
                raise ModelFileError(f"{path.name}: changed while it was hashed")
        with self._lock:
            self._hashed[name] = (before, digest)
            self._keep(lambda kept: kept["files"].update({name: [list(before), digest]}))
        return digest

    def manifest(self, root: Path) -> dict[str, Any]:
        """Read a model folder's manifest. The first manifest seen is accepted; a different one raises `ModelFileError`."""
        try:
            data = (root / MANIFEST).read_bytes()
        except OSError:
            return {"tiny": False, "files": {}}
        digest, name = hashlib.sha256(data).hexdigest(), str(root.resolve())
        with self._lock:
            accepted = self._kept()["manifests"].get(name) or self._accepted.get(name)  # another process may have accepted a newer one
            if accepted is None:
                self._accept(name, digest)
            elif accepted != digest:
                raise ModelFileError(
                    f"{MANIFEST}: is not the one that this machine accepted for {root}. Somebody changed the pins: find out who, then "
                    "`ourvidz models pin --accept`"
                )
        try:
            manifest: dict[str, Any] = json.loads(data)
            if not isinstance(manifest["files"], dict):
                raise TypeError
        except (ValueError, TypeError, KeyError) as error:
            raise ModelFileError(f"{MANIFEST}: cannot be read. Move it away; `ourvidz models pull` writes it again") from error
        return manifest

    def accept(self, root: Path) -> None:
        """Accept this manifest from now on: our own commands wrote it, or a person checked it."""
        data = (root / MANIFEST).read_bytes()
        with self._lock:
            self._accept(str(root.resolve()), hashlib.sha256(data).hexdigest())

    # -- the file; call with the lock held

    def _accept(self, name: str, digest: str) -> None:
        self._accepted[name] = digest
        self._keep(lambda kept: kept["manifests"].update({name: digest}))

    def _kept(self) -> dict[str, dict[str, Any]]:
        nothing: dict[str, dict[str, Any]] = {"files": {}, "manifests": {}}
        if self._file is None:
            return nothing
        try:
            with os.fdopen(os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as stream:
                found = os.fstat(stream.fileno())
                if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                    raise ModelFileError(
                        f"{self._file}: others may change it, or it is not this user's. Remove it, and look at who wrote it"
                    )
                kept = json.load(stream)
            return {part: dict(kept[part]) for part in nothing}
        except FileNotFoundError:
            return nothing
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelFileError(
                f"{self._file}: cannot be read ({type(error).__name__}). Remove it; files are then hashed again"
            ) from error

    def _keep(self, change: Any) -> None:
        if self._file is None:
            return
        kept = self._kept()  # read again, since other executors write it too
        change(kept)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new: Path | None = None
        try:
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self._file.parent, prefix=".models-seen-", delete=False
            ) as stream:  # mode 0600
                new = Path(stream.name)
                json.dump(kept, stream)
            new.replace(self._file)
        except OSError as error:
            if new is not None:
                new.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DiskFull(f"no room for {self._file}; make room, and the job is tried again") from error
            raise


_current = Seen()


def use(home: Path) -> None:
    """Store this process's cache under `home` from now on."""
    global _current
    _current = Seen(home / FILE)


def current() -> Seen:
    return _current
