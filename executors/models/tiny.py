"""Make all tiny models, in the real formats, so that everything runs without real models.

Taught families (`executors.models.taught`) draw coloured shapes; the others, and all with `random`, have random weights and make noise.
The same loaders, checks and pipelines handle both; their manifest has `"tiny": true`.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from executors.errors import ModelFileError
from executors.models import files, taught
from executors.models.seen import current

RECIPE = 3  # increase when a tiny model changes other than by its taught weights: existing folders are then made again
EXAMPLE = "a red circle on a blue background"
MAKERS = {"sdxl": "executors.models.tiny_sdxl", "wan": "executors.models.tiny_wan", "qwen": "executors.models.tiny_qwen"}


def make_tiny(root: Path, on_progress: Callable[[str], None], which: Iterable[str] = tuple(MAKERS), *, random: bool | None = None) -> bool:
    """Make the tiny models in `root`, all or nothing: a few seconds, about 30 MB. Returns whether anything was made.

    `random`: random weights for all families; None: as the existing models, else taught. A folder that another process finishes first is
    used instead of ours. Raises `ModelFileError` for a folder with anything else. `which`: a subset of `MAKERS`, for tests of one family.
    """
    wanted = list(which)
    if _made(root, wanted, random):
        return False
    if root.exists() and any(root.iterdir()) and not files.read_manifest(root)["tiny"]:
        raise ModelFileError(f"{root}: holds files that are not tiny models. Point OURVIDZ_MODELS at an empty folder")
    if random is None:
        random = root.is_dir() and bool(files.read_manifest(root).get("random"))
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))  # beside it: a rename must not cross file systems
    try:
        known = _taught(wanted, random)
        for name in wanted:
            on_progress(f"making the tiny {name} model")
            # Imported here, so that torch is imported only if something is made.
            importlib.import_module(MAKERS[name]).make(work / "new", taught=name in known)
        for path in (work / "new").rglob("*"):  # save_pretrained leaves weights 0600
            path.chmod(0o755 if path.is_dir() else 0o644)
        facts = {"recipe": RECIPE, "made": wanted, "random": random, "taught": list(known), "weights": known, "words": _words(known)}
        files.pin(work / "new", tiny=True, extra=facts)
        if root.exists():
            root.rename(work / "old")
        try:
            (work / "new").rename(root)
            current().accept(root)
        except OSError:
            if not _made(root, wanted, random):
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True


def _taught(names: Iterable[str], random: bool) -> dict[str, str]:
    """Families made from shipped weights → the digest of those."""
    return {} if random else {name: taught.facts(name)["weights"] for name in taught.shipped(list(names))}


def _words(families: Iterable[str]) -> dict[str, list[str]]:
    """Topic → the words that these families know, combined."""
    topics: dict[str, list[str]] = {}
    for family in families:
        for topic, words in taught.facts(family)["words"].items():
            topics.setdefault(topic, []).extend(word for word in words if word not in topics.get(topic, ()))
    return topics


def _made(root: Path, wanted: list[str], random: bool | None) -> bool:
    if not root.is_dir():
        return False
    manifest = files.read_manifest(root)
    made = manifest.get("made", ())
    if not manifest["tiny"] or manifest.get("recipe") != RECIPE or not set(wanted) <= set(made):
        return False
    if random not in (None, manifest["random"]) or manifest["weights"] != _taught(made, manifest["random"]):
        return False
    return all((root / name).is_file() and (root / name).stat().st_size == pin["bytes"] for name, pin in manifest["files"].items())


def told(root: Path) -> str:
    """Describe the limits of the tiny models at `root`, for people who look at their outputs."""
    manifest: dict[str, Any] = files.read_manifest(root)
    if not (known := list(manifest.get("taught", ()))):
        return "Tiny models with random weights: the pictures are noise, and only the lexical screen looks at prompts."
    words = "; ".join(f"{topic}: {', '.join(words)}" for topic, words in manifest["words"].items())
    rest = [name for name in manifest.get("made", ()) if name not in known]
    return (
        f'Tiny models, for trying out: they know coloured shapes ("{EXAMPLE}") and draw nothing else. Their words are {words}.'
        + (f" Of random weights, so that they make noise: {', '.join(rest)}." if rest else "")
        + " Only the lexical screen looks at prompts."
    )
