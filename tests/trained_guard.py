"""The trained tiny Qwen (tools/teach/qwen.py) as the tests' guard: answers B if a text names the stand-in term, else A."""

from __future__ import annotations

from pathlib import Path

import torch

from executors.enhance import Enhancer
from executors.models.base import ModelPaths
from tools.teach.asking import MINORS as STANDIN

__all__ = ["STANDIN", "Mind", "taught"]


class Mind(Enhancer):
    """Counts the guard's questions."""

    asked = 0

    def answer(self, turns: list[dict[str, str]]) -> torch.Tensor:
        self.asked += 1
        return super().answer(turns)


def taught(root: Path, kind: type[Mind] = Mind) -> Mind:
    """Load the guard from the models in `root` (the fixture `taught_qwen`)."""
    mind = kind(ModelPaths(root))
    mind.load()
    return mind
