"""The program that decodes one user's picture, in a process of its own that can do nothing else: bytes in on stdin, pixels out on stdout.

It runs by path, with an empty environment and nothing but the standard library, Pillow, pillow-heif and `executors.decoding`, and it
imports neither torch nor any other module of ours: what takes it over finds no secrets and no network. `executors.references` starts it and
reads its answer, which is `rgb KIND W H` and W×H×3 bytes, or `refused` and a message.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import TYPE_CHECKING

if __name__ == "__main__":  # started with -I -S, this program looks nowhere else
    sys.path += [sys.argv[1], os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]  # noqa: PTH100, PTH120  (pathlib costs 10 ms)

from PIL import Image

from executors.decoding import ACCEPTED, Unacceptable, confine
from executors.decoding.bare import BARE
from executors.decoding.colours import to_srgb
from executors.decoding.kinds import kind

if TYPE_CHECKING:
    from typing import BinaryIO

MEMORY = 1 << 30
"""Bytes of address space. The largest picture allowed, 25 million pixels with transparency, takes three quarters of it."""
ROWS = 256  # written at a time
CPU = 20  # seconds; the same picture takes about two

TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation → what turns the picture upright."""


def picture(data: bytes, max_bytes: int, max_pixels: int, min_side: int) -> tuple[str, Image.Image]:
    """Its kind, and the picture in `data`: RGB (sRGB) and upright.

    The kind is read from the bytes, never from a name or a header. Raises `Unacceptable` saying what is wrong and what is accepted; sizes
    are refused from the file's header, before a pixel is decoded.
    """
    if not data:
        raise Unacceptable(f"The reference is empty. {ACCEPTED}.")
    if len(data) > max_bytes:
        raise Unacceptable(f"The reference has {len(data):,} bytes. {ACCEPTED} of up to {max_bytes:,} bytes.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours, and stricter
            found = BARE[kind(data)](data)
            with Image.open(io.BytesIO(found.data), formats=[kind(data)]) as opened:
                _check(opened, max_pixels, min_side)
                opened.load()  # decodes; a truncated file is found here
                # Pillow gives an AVIF's own rotation as EXIF that it makes; a HEIC's is applied already.
                turned = opened.getexif().get(0x0112, 1) if kind(data) == "AVIF" else found.orientation
                return kind(data), _plain(opened, turned, opened.info.get("icc_profile") or found.profile)
    except Unacceptable:
        raise
    except MemoryError:
        raise Unacceptable(f"The reference takes too much memory to decode. {ACCEPTED}.") from None
    except Image.DecompressionBombError:
        raise Unacceptable(f"The reference has far too many pixels. {ACCEPTED} of up to {max_pixels:,} pixels.") from None
    except Image.UnidentifiedImageError:
        raise Unacceptable(f"The reference is a damaged {kind(data)}: it begins like one and goes on otherwise. {ACCEPTED}.") from None
    except Exception as error:  # decoders raise a dozen kinds for damaged files, and whichever it is, the file is to blame
        raise Unacceptable(f"The reference is truncated or damaged ({_printable(error)}). {ACCEPTED}.") from error


def _printable(error: Exception) -> str:
    """A decoder's words may quote the file."""
    words = "".join(c if c.isascii() and c.isprintable() else "?" for c in str(error)[:200])
    return words or type(error).__name__


def _check(opened: Image.Image, max_pixels: int, min_side: int) -> None:
    width, height = opened.size
    if width * height > max_pixels:
        raise Unacceptable(f"The reference has {width}×{height} pixels. {ACCEPTED} of up to {max_pixels:,} pixels.")
    if min(width, height) < min_side:
        raise Unacceptable(f"The reference has {width}×{height} pixels. {ACCEPTED} of at least {min_side} pixels a side.")
    # Several pictures in one HEIC are no animation: what a phone puts beside the first is another shot, or the same in another light.
    if opened.format != "HEIF" and getattr(opened, "n_frames", 1) > 1:
        raise Unacceptable(f"The reference is animated. {ACCEPTED} that stands still.")


def _plain(image: Image.Image, orientation: int, profile: bytes | None) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "F"):
        # 16 bits a channel: Pillow's own conversion clips at 255, which turns most of it white.
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
    image = to_srgb(image, profile)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
    return image.transpose(TURNED[orientation]) if orientation in TURNED else image


def prepare(data: bytes) -> bool:
    """Imports what the decoder of this kind of file imports, before `seal` closes all files; looks at the first bytes alone. Whether that
    decoder needs a thread."""
    try:
        needed = kind(data)
    except Unacceptable:
        return False  # nothing will be decoded
    from PIL import TiffImagePlugin  # noqa: F401  (for EXIF)

    Image.preinit()
    if needed == "HEIF":
        from pillow_heif import register_heif_opener

        # libde265's own thread is the one it gets; of all that may lie beside the picture nothing is looked at.
        register_heif_opener(decode_threads=0, thumbnails=False, depth_images=False, aux_images=False)
    elif needed == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the one that asks
    elif needed == "WEBP":
        from PIL import WebPImagePlugin  # noqa: F401
    return needed == "HEIF"


def seal(memory: int = MEMORY, cpu: int = CPU, *, thread: bool = False) -> None:
    """Gives up, for good, all that decoding does not need. What decoding imports must be imported before. Bytes, seconds, and whether
    threads may be started."""
    import resource

    confine.leave()
    bounded = confine.only_threads()
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        *([] if thread and bounded else [(resource.RLIMIT_NPROC, 0)]),  # it counts threads too
        (resource.RLIMIT_NOFILE, 0),  # no new descriptor: no file, socket or pipe can be opened, with or without a network
    ):
        if what != resource.RLIMIT_AS or sys.platform != "darwin":  # which refuses it
            resource.setrlimit(what, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 2))  # the first ends it with a signal that says why


def main(source: BinaryIO, sink: BinaryIO, max_bytes: int, max_pixels: int, min_side: int, memory: int, cpu: int) -> None:
    # Pillow refuses twice this by itself, WebP's canvas before it is made. What is between is ours to refuse, with its size.
    Image.MAX_IMAGE_PIXELS = 2 * max_pixels
    data = source.read(max_bytes + 1)
    seal(memory, cpu, thread=prepare(data))
    try:
        found, made = picture(data, max_bytes, max_pixels, min_side)
        sink.write(f"rgb {found} {made.width} {made.height}\n".encode())
        for top in range(0, made.height, ROWS):  # in pieces: the whole once more would count against the memory
            sink.write(made.crop((0, top, made.width, min(top + ROWS, made.height))).tobytes())
    except Unacceptable as refused:
        sink.write(b"refused\n" + str(refused).encode())
    sink.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, *map(int, sys.argv[2:7]))
    os._exit(0)  # nothing to tidy, and no interpreter to unwind under a full memory
