"""One job on a contact sheet, passed from the command line to the executors that draw it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """`files`: the job's pictures, or its video. `references`: the job's reference pictures, as PNG."""

    title: str
    prompt: str
    enhanced: str  # what the enhancer made of the prompt; "" where it did not
    files: tuple[Path, ...]
    references: tuple[bytes, ...] = ()
