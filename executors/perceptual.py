"""PDQ: a hash of what a picture looks like, which scaling, recompression and small changes leave nearly as it was.

256 bits, compared by how many differ; up to 31 is the same picture. From the description that Meta published with the hash ("The
TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", 2019): luminance, smoothed by two passes of a box filter as wide as
half of one of 64 cells, sampled to 64×64; of its two-dimensional cosine transform the 16×16 lowest frequencies without the constant ones; a
bit for each that is above their median. Lists of PDQ hashes that others share can be compared with these.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float64]

CELLS, KEPT = 64, 16
ENOUGH = 50
"""The quality, of 100, below which a picture is too flat to be compared: all such pictures look alike to the hash."""
LARGEST = 512  # pixels: larger ones are scaled down first, which changes a bit or two and saves most of the time


def hashes(pictures: Sequence[Image.Image]) -> list[str]:
    """One for each picture that is not too flat, as 64 hex digits."""
    return [_hex(plane) for plane in map(_plane, pictures) if _quality(plane) >= ENOUGH]


def orientations(pictures: Sequence[Image.Image]) -> list[str]:
    """The same, of each picture in all eight ways to turn and mirror it: eight hashes a picture, without those that come twice."""
    planes = [plane for plane in map(_plane, pictures) if _quality(plane) >= ENOUGH]
    turned = [np.rot90(side, turn) for plane in planes for side in (plane, plane.T) for turn in range(4)]
    return list(dict.fromkeys(map(_hex, turned)))


def distance(one: str, other: str) -> int:
    """How many of the 256 bits differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def _plane(picture: Image.Image) -> Plane:
    """Luminance from 0 to 255, 64×64."""
    if max(picture.size) > LARGEST:
        picture = picture.resize((LARGEST, LARGEST), Image.Resampling.BOX)
    luminance: Plane = np.asarray(picture.convert("RGB"), dtype=np.float64) @ np.array([0.299, 0.587, 0.114])
    for axis in (0, 1):
        window = -(-luminance.shape[axis] // (2 * CELLS))
        for _ in range(2):
            luminance = _boxed(luminance, window, axis)
    rows, columns = (((np.arange(CELLS) + 0.5) * size / CELLS).astype(int) for size in luminance.shape)
    return luminance[np.ix_(rows, columns)]


def _boxed(plane: Plane, window: int, axis: int) -> Plane:
    """Each value the mean of the window around it, which is cut off at the edges."""
    size = plane.shape[axis]
    sums = np.insert(np.cumsum(plane, axis=axis), 0, 0.0, axis=axis)
    middle = (window + 2) // 2
    low = np.maximum(np.arange(size) - window + middle, 0)
    high = np.minimum(np.arange(size) + middle, size)
    counts = (high - low).reshape((-1, 1) if axis == 0 else (1, -1))
    return np.asarray((np.take(sums, high, axis) - np.take(sums, low, axis)) / counts)


@cache
def _cosines() -> Plane:
    row, column = np.arange(1, KEPT + 1)[:, None], np.arange(CELLS)[None, :]
    return np.asarray(np.sqrt(2 / CELLS) * np.cos(np.pi / (2 * CELLS) * row * (2 * column + 1)))


def _hex(plane: Plane) -> str:
    low = (_cosines() @ plane @ _cosines().T).ravel()
    bits = low > np.partition(low, low.size // 2 - 1)[low.size // 2 - 1]  # the lower median: of 256 values, half are above it
    return f"{sum(1 << int(n) for n in np.flatnonzero(bits)):064x}"


def _quality(plane: Plane) -> int:
    """How much there is to see, 0 to 100: the sum of the differences between neighbours, each in whole percents of the range."""
    steps = sum(int(np.abs((np.diff(plane, axis=axis) * 100 / 255).astype(int)).sum()) for axis in (0, 1))
    return min(100, steps // 90)
