"""Check that a loader reads only pinned files: every file below the place that it reads, by content, before and after loading.

Libraries load whatever is in a folder (code, pickles, adapters, added tokens), so one unpinned file refuses the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from executors.errors import ModelFileError
from executors.models.roles import STRAY
from executors.models.seen import current, stamp_of

RUNS = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".py", ".pyc", ".so"})
"""Suffixes of files that run code when they are loaded."""
ADAPTERS = frozenset({"adapter_config.json", "adapter_model.safetensors"})
"""File names that transformers looks for by itself, to apply other weights over the model's, from any place that they name."""


def refused(name: str) -> str | None:
    """Return why a file of this name is never loaded, pinned or not; None if it may be loaded."""
    path = Path(name)
    if path.suffix.lower() in RUNS:
        return "can run code when it is loaded"
    return "is an adapter, which would be put over the model's own weights" if path.name in ADAPTERS else None


@contextmanager
def pinned(root: Path, *places: Path, always: bool = False) -> Iterator[None]:
    """Context for reading these files and folders of `root`. `always`: hash them once per process, even if this machine knows their hashes.

    Raises `ModelFileError` naming the file, before anything is read; and afterwards if a file was replaced meanwhile, even if its
    times were restored, so that what was loaded is discarded.
    """
    before = check(root, *places, always=always)
    yield
    if changed := sorted(set(before.items()) ^ set(_stamps(root, places).items())):
        raise ModelFileError(f"{Path(changed[0][0]).relative_to(root)}: was changed while it was loaded, and what was loaded is not used")


def check(root: Path, *places: Path, always: bool = False) -> dict[str, tuple[int, ...]]:
    """Check that every file below these places is pinned and matches its pin. Returns the stamps of files and folders."""
    pins, seen = current().manifest(root)["files"], current()
    looked = _stamps(root, places)
    for path in sorted(map(Path, looked)):
        if path.is_dir():
            continue
        name = path.relative_to(root).as_posix()
        if why := refused(name):
            raise ModelFileError(f"{name}: {why}. Move it out of the model folder")
        if name not in pins:
            raise ModelFileError(f"{name}: is not pinned in manifest.json. Move it out of the model folder, or `ourvidz models pin` it")
        if (found := seen.sha256(path, always=always)) != pins[name]["sha256"]:
            raise ModelFileError(f"{name}: has sha256 {found[:12]}… where {pins[name]['sha256'][:12]}… is pinned")
    return looked


def _stamps(root: Path, places: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    """Stamp each file and folder below the places, and the folders above them up to the root: a whole folder may be replaced."""
    home, found = root.resolve(), {}

    def look(path: Path) -> None:
        if not path.resolve().is_relative_to(home):
            raise ModelFileError(f"{path.relative_to(root)}: leads out of the model folder. Put the files there, or mount their folder")
        seen: Any = stamp_of(path.stat())
        # A folder's size and device tell nothing.
        found[str(path)] = seen if path.is_file() else (seen[1], *seen[3:])

    for place in places:
        for folder in place.parents:
            if folder == root:
                break
            look(folder)
        look(place)
        for path in place.rglob("*") if place.is_dir() else ():
            # Nothing is loaded from hidden folders, and no library opens pickles with these suffixes.
            hidden = any(part.startswith(".") for part in path.relative_to(place).parts)
            if not hidden and path.suffix.lower() not in STRAY:
                look(path)
    return found
