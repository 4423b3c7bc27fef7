"""Recognise a video's content by its pixels: judge.py judges single frames, this module their motion and similarity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from tests.content.judge import Blob, see
from tools.teach.scenes import MOTIONS, Scene

Frames = np.ndarray[Any, Any]
"""(F, H, W, 3) in 0…255."""


def largest(frame: Frames) -> Blob | None:
    blobs = see(frame).blobs
    return blobs[0] if blobs else None


def travel(frames: Frames) -> tuple[float, float]:
    """Displacement of the shape's centre from the first frame to the last, in pixels."""
    first, last = largest(frames[0]), largest(frames[-1])
    if first is None or last is None:
        return 0.0, 0.0
    return (last.x - first.x) * frames.shape[2], (last.y - first.y) * frames.shape[1]


def right(frames: Frames, scene: Scene) -> dict[str, bool]:
    """Correctness by aspect: in most of five frames; the motion must go in its direction, and further than across it."""
    some = [see(frames[n]) for n in sorted({round(share * (len(frames) - 1)) for share in (0, 0.25, 0.5, 0.75, 1)})]
    most = len(some) / 2
    out = {
        "ground": sum(one.ground == scene.ground for one in some) > most,
        "colour": sum(bool(one.blobs) and one.blobs[0].colour == scene.colour for one in some) > most,
        "shape": sum(bool(one.blobs) and one.blobs[0].shape == scene.shape for one in some) > most,
    }
    if scene.motion:
        (dx, dy), (x, y) = MOTIONS[scene.motion], travel(frames)
        out["motion"] = bool((along := x * dx + y * dy) > 2 and along > abs(x * dy) + abs(y * dx))
    return out


def shares(films: Sequence[Frames], scenes: Sequence[Scene]) -> dict[str, float]:
    """Share of videos that are right, for each aspect and for all at once."""
    counted: Counter[str] = Counter()
    for frames, scene in zip(films, scenes, strict=True):
        judged = right(frames, scene)
        counted.update({aspect: int(ok) for aspect, ok in (judged | {"all": all(judged.values())}).items()})
    found = {aspect: round(number / len(scenes), 3) for aspect, number in counted.items()}
    print(found)
    return found


def similarity(one: Frames, other: Frames) -> float:
    """Structural similarity (https://doi.org/10.1109/TIP.2003.819861) of two frames, averaged over channels and pixels: 1 if equal."""

    def smooth(x: Frames) -> Frames:
        return gaussian_filter(x, (1.5, 1.5, 0))

    mean_a, mean_b = smooth(one), smooth(other)
    var_a, var_b = smooth(one**2) - mean_a**2, smooth(other**2) - mean_b**2
    both = smooth(one * other) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(((2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())
