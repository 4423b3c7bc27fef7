"""Check that a model's output is a picture. A decoder turns NaN into black, and overflow into one flat colour."""

from __future__ import annotations

import numpy as np
from PIL import Image

from executors.errors import BadOutput

FLAT = 1.0  # standard deviation, out of 255, below which a picture counts as a single colour; real dark scenes are above 3


def check_pixels(pixels: np.ndarray | Image.Image) -> None:
    """Raise `BadOutput` for NaN, infinity or a single colour.

    `pixels`: an image, or an array (…, H, W, 3): uint8 in 0…255 or float in 0…1. Pass a clip as a whole: one black frame in a fade is
    fine, an entirely black clip is not.
    """
    array = np.asarray(pixels)
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise BadOutput("the model made NaN or infinity")
        array = array * 255.0
    # Every fourth pixel is enough, and checks 81 frames in a few milliseconds.
    step = 4 if min(array.shape[-3:-1]) >= 32 else 1
    sample = array[..., ::step, ::step, :].reshape(-1, array.shape[-1]).astype(np.float32)
    if sample.std(axis=0).max() < FLAT:
        raise BadOutput(f"the model made a single colour: {tuple(int(value) for value in sample.mean(axis=0))}")
