"""Keep files and folders that the product makes private to its user, also on a host that others share."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

UMASK = 0o077
MOST = 50_000  # entries checked at most: a spool and a store may hold more


def begin() -> None:
    """Set the umask at the start of each process of ours; its children inherit it. What has to be open to others gets an explicit chmod."""
    os.umask(UMASK)


@dataclass(frozen=True)
class Exposed:
    path: Path
    mode: int
    private: int  # the mode that it should have

    def __str__(self) -> str:
        return f"{self.path} ({self.mode:04o})"


def exposed(roots: Iterable[Path], shared: Iterable[Path] = ()) -> Iterator[Exposed]:
    """Yield our files in these folders that others may read, write or enter; at most MOST entries are checked. In `shared` (model files,
    which executors of several accounts may read) only those that others may write. Links are not followed: their own mode has no effect."""
    readable = [path.absolute() for path in shared]
    left = MOST
    for root in roots:
        for path in _below(root.absolute()):
            if (left := left - 1) < 0:
                return
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue  # gone meanwhile
            mode = stat.S_IMODE(found.st_mode)
            if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
                continue  # another's: the uid that root's Postgres runs as keeps its own data private
            others = 0o022 if any(path.is_relative_to(one) for one in readable) else 0o077
            if path.name == "postgres" and stat.S_ISDIR(found.st_mode) and os.geteuid() == 0:
                others &= ~0o011  # that uid must pass this folder on its way to the data
            if mode & others:
                yield Exposed(path, mode, mode & ~others)


def close(found: Iterable[Exposed]) -> int:
    """Remove the others' permissions. Returns how many files were changed."""
    changed = 0
    for one in found:
        one.path.chmod(one.private)
        changed += 1
    return changed


def _below(root: Path) -> Iterator[Path]:
    """Yield the folder and everything in it."""
    if not root.exists():
        return
    yield root
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            yield Path(folder, name)
