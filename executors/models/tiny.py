"""All the tiny models: random weights in the real formats, made where no real ones are, so that everything can run anywhere.

The same loaders, checks and pipelines take them; only their pictures are noise, and their manifest says `"tiny": true`.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from executors.errors import ModelFileError
from executors.models import files
from executors.models.seen import current

RECIPE = 2  # raise it when a tiny model changes: older folders are then made again
MAKERS = {"sdxl": "executors.models.tiny_sdxl", "wan": "executors.models.tiny_wan", "qwen": "executors.models.tiny_qwen"}


def make_tiny(root: Path, on_progress: Callable[[str], None], which: Iterable[str] = tuple(MAKERS)) -> None:
    """Make the tiny models in `root`, all or nothing: a few seconds, about 20 MB. Does nothing where they already are.

    A folder that another process finishes first is as good as ours. Raises `ModelFileError` rather than touch a folder that holds
    anything else. `which` is a subset of `MAKERS`, for tests of one family.
    """
    wanted = list(which)
    if _made(root, wanted):
        return
    if root.exists() and any(root.iterdir()) and not files.read_manifest(root)["tiny"]:
        raise ModelFileError(f"{root}: holds files that are not tiny models. Point OURVIDZ_MODELS at an empty folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))  # beside it: a rename must not cross file systems
    try:
        for name in wanted:
            on_progress(f"making the tiny {name} model")
            importlib.import_module(MAKERS[name]).make(work / "new")  # imported here: torch, only when something is to be made
        for path in (work / "new").rglob("*"):  # save_pretrained leaves weights 0600
            path.chmod(0o755 if path.is_dir() else 0o644)
        files.pin(work / "new", tiny=True, extra={"recipe": RECIPE, "made": wanted})
        if root.exists():
            root.rename(work / "old")
        try:
            (work / "new").rename(root)
            current().accept(root)
        except OSError:
            if not _made(root, wanted):
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _made(root: Path, wanted: list[str]) -> bool:
    if not root.is_dir():
        return False
    manifest = files.read_manifest(root)
    if not manifest["tiny"] or manifest.get("recipe") != RECIPE or not set(wanted) <= set(manifest.get("made", ())):
        return False
    return all((root / name).is_file() and (root / name).stat().st_size == pin["bytes"] for name, pin in manifest["files"].items())
