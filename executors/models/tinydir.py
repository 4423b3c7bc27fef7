"""Install a tiny model's folder atomically: built aside, then renamed, so that nobody loads a partial one."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from executors.models.loading import quiet

MARK = "tiny.json"


def facts_of(folder: Path) -> dict[str, Any] | None:
    """Read a model folder's `tiny.json`; None for a real model, which has no such file."""
    try:
        facts = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return facts if isinstance(facts, dict) else {}


def install(folder: Path, facts: dict[str, Any], build: Callable[[Path], None]) -> None:
    """Make `folder` with `build(aside)` unless it exists with the same `facts`.

    A folder without `tiny.json` is a real model and never touched. Two processes may race here; the loser's work is discarded.
    """
    if folder.exists() and (facts_of(folder) is None or facts_of(folder) == facts):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    aside.mkdir()
    quiet()
    try:
        build(aside)
        for file in aside.rglob("*"):  # save_pretrained leaves weights 0600; an executor may run as another user
            file.chmod(0o755 if file.is_dir() else 0o644)
        (aside / MARK).write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        if facts_of(folder) is not None:  # an older recipe's folder, replaced in one rename
            old = aside.with_name(aside.name + ".old")
            folder.replace(old)
            shutil.rmtree(old, ignore_errors=True)
        aside.rename(folder)
    except OSError:
        if facts_of(folder) != facts:  # unless another process was first
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
