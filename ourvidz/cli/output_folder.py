"""The demo's output folder: copies of its pictures under readable names, and a contact sheet."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ourvidz.cli.out import Problem
from ourvidz.contact_sheet import Cell

if TYPE_CHECKING:
    from ourvidz.cli.demo_jobs import Wish
    from ourvidz.cli.executor import Executors

SHEET = "contact-sheet.png"


def make(folder: Path, keep: bool) -> Path:
    """Create and return the output folder: `folder`, or with `keep` the first of folder, folder-2, … that does not exist yet."""
    chosen, number = folder, 1
    while keep and chosen.exists():
        number += 1
        chosen = folder.with_name(f"{folder.name}-{number}")
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"{chosen} cannot be made: {error.strerror}. Choose another place with --out DIR.") from error
    return chosen


def fill(
    executors: Executors, folder: Path, rows: list[dict[str, Any]], wishes: Mapping[str, Wish], references: Mapping[str, bytes]
) -> dict[str, list[Path]]:
    """Copy every output to `folder` and draw the contact sheet there. Returns each job's copies. `references`: PNG bytes by name."""
    copies: dict[str, list[Path]] = {}
    cells: list[Cell] = []
    for place, row in enumerate(rows, 1):
        wish = wishes[str(row["id"])]
        made = [a for a in row["artifacts"] if a["file"] and a["kind"] != "thumbnail"]
        copies[str(row["id"])] = []
        for a in made:
            source, several = Path(a["file"]), f"-{a['index'] + 1}" if len(made) > 1 else ""
            copy = folder / f"{place:02d}-{wish.file_name}{several}{source.suffix}"
            shutil.copyfile(source, copy)
            copies[str(row["id"])].append(copy)
        if made:
            given = tuple(references[name] for name in wish.references.values())
            cells.append(Cell(wish.title, wish.prompt, row["enhanced_prompt"] or "", tuple(copies[str(row["id"])]), given))
    if cells:
        executors.contact_sheet(cells, folder / SHEET)
    return copies
