"""PDQ, a perceptual image hash: scaling, recompression and small changes alter few of its bits.

256 bits, compared by Hamming distance; up to 31 counts as the same picture. Implemented from Meta's description ("The TMK+PDQF
Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", 2019): luminance, smoothed by two passes of a box filter as wide as half of
one of 64 cells, sampled to 64×64; the 16×16 lowest frequencies of its two-dimensional cosine transform, without the constant ones; one bit
for each that is above their median. The hashes are comparable with shared lists of PDQ hashes.
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
"""The quality, out of 100, below which a picture is too flat to be compared: all such pictures hash alike."""
LARGEST = 512  # pixels: larger pictures are scaled down first, which changes a bit or two and saves most of the time


def hashes(pictures: Sequence[Image.Image]) -> list[str]:
    """Return the hash of each picture that is not too flat, as 64 hex digits."""
    return [_hex(plane) for plane in map(_plane, pictures) if _quality(plane) >= ENOUGH]


def orientations(pictures: Sequence[Image.Image]) -> list[str]:
    """Return the hashes of each picture in all eight rotations and reflections, without duplicates."""
    planes = [plane for plane in map(_plane, pictures) if _quality(plane) >= ENOUGH]
    turned = [np.rot90(side, turn) for plane in planes for side in (plane, plane.T) for turn in range(4)]
    return list(dict.fromkeys(map(_hex, turned)))


def distance(one: str, other: str) -> int:
    """Hamming distance: how many of the 256 bits differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def _plane(picture: Image.Image) -> Plane:
    """Luminance plane, 0 to 255, 64×64."""
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
    """Box filter: the mean of the window around each value, clipped at the edges."""
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
    """Amount of detail, 0 to 100: the sum of the differences between neighbours, each in whole percents of the range."""
    steps = sum(int(np.abs((np.diff(plane, axis=axis) * 100 / 255).astype(int)).sum()) for axis in (0, 1))
    return min(100, steps // 90)
