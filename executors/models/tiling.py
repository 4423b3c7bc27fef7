"""Decode in tiles, for the retry of a job that ran out of memory: needs a quarter of the memory, but seams may be slightly visible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIZES = (
    "use_tiling",
    "tile_sample_min_size",
    "tile_latent_min_size",
    "tile_sample_min_height",
    "tile_sample_min_width",
    "tile_sample_stride_height",
    "tile_sample_stride_width",
)


@contextmanager
def tiled(vae: Any, width: int, height: int, small: bool) -> Iterator[None]:
    """With `small`, make a diffusers VAE decode width × height in tiles of about half its sides, overlapping by a quarter."""
    if not small:
        yield
        return
    before = {name: getattr(vae, name) for name in _SIZES if hasattr(vae, name)}
    try:
        vae.enable_tiling()
        if "tile_latent_min_size" in before:  # AutoencoderKL: square tiles; its default, 1024², is a whole picture
            scale = before["tile_sample_min_size"] // before["tile_latent_min_size"]
            vae.tile_latent_min_size = max(4, max(width, height) // scale // 2)
            vae.tile_sample_min_size = vae.tile_latent_min_size * scale
        else:
            for side, size in (("height", height), ("width", width)):
                tile = max(32, size // 2 // 32 * 32)
                setattr(vae, f"tile_sample_min_{side}", tile)
                setattr(vae, f"tile_sample_stride_{side}", tile * 3 // 4)
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)
