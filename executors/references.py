"""Reference pictures come from users: nothing about them is believed. Bytes in, one checked RGB picture out."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps

from .errors import BadReference

FORMATS = ("PNG", "JPEG", "WEBP")
ACCEPTED = "A reference is one PNG, JPEG or WebP picture"
MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 25_000_000
MIN_SIDE = 64  # less than four of Wan's 16-pixel patches shows a model nothing


def load_reference(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE) -> Image.Image:
    """The picture in `data`: RGB, upright, without any metadata (EXIF can hold where a photo was taken).

    The type is read from the bytes, never from a name or a header. Raises `BadReference` saying what is wrong and what is accepted; sizes
    are refused from the file's header, before a pixel is decoded.
    """
    if not data:
        raise BadReference(f"The reference is empty. {ACCEPTED}.")
    if len(data) > max_bytes:
        raise BadReference(f"The reference has {len(data):,} bytes. {ACCEPTED} of up to {max_bytes:,} bytes.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours, and stricter
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                _check(picture, max_pixels, min_side)
                picture.load()  # decodes; a truncated file is found here
                return _plain(picture)
    except (BadReference, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise BadReference(f"The reference is no picture of a known type. {ACCEPTED}.") from None
    except Image.DecompressionBombError:
        raise BadReference(f"The reference has far too many pixels. {ACCEPTED} of up to {max_pixels:,} pixels.") from None
    except Exception as error:  # decoders raise a dozen kinds for damaged files, and whichever it is, the file is to blame
        raise BadReference(f"The reference is truncated or damaged ({error}). {ACCEPTED}.") from error


def _check(picture: Image.Image, max_pixels: int, min_side: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        raise BadReference(f"The reference has {width}×{height} pixels. {ACCEPTED} of up to {max_pixels:,} pixels.")
    if min(width, height) < min_side:
        raise BadReference(f"The reference has {width}×{height} pixels. {ACCEPTED} of at least {min_side} pixels a side.")
    # MPO is what a phone's JPEG is called when a second picture (depth, the other eye) lies behind the first: still one to a person.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise BadReference(f"The reference is animated. {ACCEPTED} that stands still.")


def _plain(picture: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("I", "I;16", "I;16B", "F"):
        # 16 bits a channel: Pillow's own conversion clips at 255, which turns most of it white.
        upright = upright.convert("I").point(lambda value: value / 257).convert("L")
    if upright.has_transparency_data:
        layers = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layers.size, (255, 255, 255, 255)), layers)
    # A new image: `info` (EXIF, ICC, XMP, comments) stays behind.
    plain = Image.new("RGB", upright.size)
    plain.paste(upright.convert("RGB"))
    return plain
