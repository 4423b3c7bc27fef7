"""Recognise an image's content by its pixels: the oracle of the content tests. Knows the world of tools/teach/scenes.py, and no model.

Each pixel is mapped to the nearest of the world's colours; the most frequent one along the border is the ground; connected pixels that
differ from it are shapes; a shape is the form that covers it best when drawn with the same centre and area. tests/content/test_judge.py
measures the error rate on painted images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from tools.teach.scenes import COLOURS, SHAPES, Scene, Spot, cover, distance

NAMES = list(COLOURS)
PALETTE = np.array([COLOURS[name] for name in NAMES], np.float32)
FAR = 60.0  # distance in RGB from the ground's mean, from which a pixel belongs to a shape
SMALLEST = 0.01  # share of the image below which connected pixels are ignored as specks
Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Blob:
    """Connected pixels that are not ground. `x`, `y`: centre; `area`; all as shares of the image."""

    colour: str
    shape: str
    fit: float  # intersection over union with that form
    x: float
    y: float
    area: float


@dataclass(frozen=True)
class Seen:
    ground: str
    purity: float  # share of the pixels outside shapes that have the ground's colour
    grain: float  # RMS distance of the pixels outside shapes from their mean, in 0…255
    blobs: tuple[Blob, ...]  # largest first


def see(picture: Image.Image | Pixels) -> Seen:
    """`picture`: RGB, an image or an array (H, W, 3) in 0…255."""
    pixels = np.asarray(picture).astype(np.float32)
    nearest = np.square(pixels[:, :, None] - PALETTE).sum(-1).argmin(-1)
    edge = np.concatenate([nearest[:4].ravel(), nearest[-4:].ravel(), nearest[:, :4].ravel(), nearest[:, -4:].ravel()])
    ground = int(np.bincount(edge, minlength=len(NAMES)).argmax())
    of_ground = nearest == ground
    mean = pixels[of_ground].mean(0)
    labels, count = ndimage.label(np.linalg.norm(pixels - mean, axis=-1) > FAR)
    found = [_blob(labels == n + 1, nearest) for n in range(count) if (labels == n + 1).mean() > SMALLEST]
    outside = ~ndimage.binary_dilation(labels > 0, iterations=2)
    purity = float(of_ground[outside].mean()) if outside.any() else 0.0
    grain = float(pixels[outside].std(0).mean()) if outside.any() else 0.0
    return Seen(NAMES[ground], purity, grain, tuple(sorted(found, key=lambda blob: -blob.area)))


def _blob(mask: Pixels, nearest: Pixels) -> Blob:
    height, width = mask.shape
    y, x = (axis.mean() + 0.5 for axis in np.nonzero(mask))
    inner = ndimage.binary_erosion(mask)  # take the colour from the inside: an edge mixes colours and may be nearest to a third one
    colour = int(np.bincount(nearest[inner if inner.any() else mask], minlength=len(NAMES)).argmax())
    fits = {form: _fit(form, mask, x, y) for form in FORMS}
    best = max(fits, key=lambda form: fits[form])
    return Blob(NAMES[colour], best, fits[best], x / width, y / height, float(mask.mean()))


def _fit(form: str, mask: Pixels, x: float, y: float) -> float:
    size, area = (mask.shape[1], mask.shape[0]), mask.sum()
    radius = (area / AREA[form]) ** 0.5
    if form == "diamond":
        rows, columns = np.mgrid[: size[1], : size[0]] + 0.5
        drawn = np.abs(rows - y) + np.abs(columns - x) < radius
    else:
        drawn = cover(form, [Spot(x, y - SINK[form] * radius, radius)], size) > 0.5
    return float((drawn & mask).sum() / (drawn | mask).sum())


def _measure(shape: str) -> tuple[float, float]:
    """A shape's area for radius 1, and the offset of its centre of mass below its centre."""
    y, x = np.mgrid[-2:2:801j, -2:2:801j].astype(np.float32)
    inside = distance(shape, x, y, 1.0) < 0
    return float(inside.sum()) * (4 / 800) ** 2, float(y[inside].mean())


_MEASURES = {shape: _measure(shape) for shape in SHAPES}
AREA = {shape: area for shape, (area, _) in _MEASURES.items()} | {"diamond": 2.0}
SINK = {shape: sink for shape, (_, sink) in _MEASURES.items()}
FORMS = (*SHAPES, "diamond")  # not in the world: a circle turned into a diamond must not count as a circle


def right(picture: Image.Image | Pixels, scene: Scene) -> dict[str, bool]:
    """Correctness of an image for `scene`, by aspect and for "all". Motion is not judged: an image has none."""
    seen = see(picture)
    shown = seen.blobs
    out = {
        "ground": seen.ground == scene.ground,
        "count": len(shown) == scene.count,
        "colour": bool(shown) and all(blob.colour == scene.colour for blob in shown),
        "shape": bool(shown) and all(blob.shape == scene.shape for blob in shown),
    }
    if scene.place:
        out["place"] = bool(shown) and lies(shown[0], scene.place)
    return out | {"all": all(out.values())}


def lies(blob: Blob, place: str) -> bool:
    return {"left": blob.x < 0.45, "right": blob.x > 0.55, "top": blob.y < 0.45, "bottom": blob.y > 0.55}[place]


def shares(judged: Iterable[dict[str, bool]]) -> dict[str, float]:
    """Share of images that are right, by aspect, among those that have it."""
    right_ones: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for one in judged:
        right_ones.update({aspect: int(ok) for aspect, ok in one.items()})
        asked.update(one.keys())
    return {aspect: right_ones[aspect] / asked[aspect] for aspect in asked}
