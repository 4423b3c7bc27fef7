"""The tiny Qwen that was taught (tools/teach/qwen.py), as the guard of tests: B where a text names the stand-in, else A."""

from __future__ import annotations

from pathlib import Path

import torch

from executors.enhance import Enhancer
from executors.models.base import ModelPaths
from tools.teach.asking import MINORS as STANDIN

__all__ = ["STANDIN", "Mind", "taught"]


class Mind(Enhancer):
    """Counts what the guard asks it."""

    asked = 0

    def answer(self, turns: list[dict[str, str]]) -> torch.Tensor:
        self.asked += 1
        return super().answer(turns)


def taught(root: Path, kind: type[Mind] = Mind) -> Mind:
    """Of the models in `root` (the fixture `taught_qwen`), loaded."""
    mind = kind(ModelPaths(root))
    mind.load()
    return mind
