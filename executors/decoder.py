"""The program that decodes one user's picture, in a process of its own that can do nothing else: bytes in on stdin, pixels out on stdout.

It runs by path, with an empty environment and nothing but the standard library and Pillow, and it imports neither torch nor any of our own
modules: what takes it over finds no secrets and no network. `executors.references` starts it and reads its answer, which is `rgb W H` and
W×H×3 bytes, or `refused` and words.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.append(sys.argv[1])  # where Pillow lies: started with -I -S, this program looks nowhere else

from PIL import Image, ImageOps

if TYPE_CHECKING:
    from typing import BinaryIO

FORMATS = ("PNG", "JPEG", "WEBP")
ACCEPTED = "A reference is one PNG, JPEG or WebP picture"
MEMORY = 1 << 30
"""Bytes of address space. The largest picture allowed, 25 million pixels with transparency, takes three quarters of it."""
ROWS = 256  # written at a time
CPU = 20  # seconds; the same picture takes about two


class Unacceptable(Exception):
    """The file is at fault, and the words say how."""


def picture(data: bytes, max_bytes: int, max_pixels: int, min_side: int) -> Image.Image:
    """The picture in `data`: RGB and upright.

    The type is read from the bytes, never from a name or a header. Raises `Unacceptable` saying what is wrong and what is accepted; sizes
    are refused from the file's header, before a pixel is decoded.
    """
    if not data:
        raise Unacceptable(f"The reference is empty. {ACCEPTED}.")
    if len(data) > max_bytes:
        raise Unacceptable(f"The reference has {len(data):,} bytes. {ACCEPTED} of up to {max_bytes:,} bytes.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is ours, and stricter
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                _check(opened, max_pixels, min_side)
                opened.load()  # decodes; a truncated file is found here
                return _plain(opened)
    except Unacceptable:
        raise
    except MemoryError:
        raise Unacceptable(f"The reference takes too much memory to decode. {ACCEPTED}.") from None
    except Image.UnidentifiedImageError:
        raise Unacceptable(f"The reference is no picture of a known type. {ACCEPTED}.") from None
    except Image.DecompressionBombError:
        raise Unacceptable(f"The reference has far too many pixels. {ACCEPTED} of up to {max_pixels:,} pixels.") from None
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
    # MPO is what a phone's JPEG is called when a second picture (depth, the other eye) lies behind the first: still one to a person.
    if opened.format != "MPO" and getattr(opened, "n_frames", 1) > 1:
        raise Unacceptable(f"The reference is animated. {ACCEPTED} that stands still.")


def _plain(opened: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(opened)
    if upright.mode in ("I", "I;16", "I;16B", "F"):
        # 16 bits a channel: Pillow's own conversion clips at 255, which turns most of it white.
        upright = upright.convert("I").point(lambda value: value / 257).convert("L")
    if upright.has_transparency_data:
        layers = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layers.size, (255, 255, 255, 255)), layers)
    return upright.convert("RGB")


def seal(memory: int = MEMORY, cpu: int = CPU) -> None:
    """Gives up, for good, all that decoding does not need. What decoding imports must be imported before. Bytes, and seconds."""
    import resource

    _leave()

    # What a decoder imports only when it meets its file.
    from PIL import MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.preinit()
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),  # no new descriptor: no file, socket or pipe can be opened, with or without a network
    ):
        if what != resource.RLIMIT_AS or sys.platform != "darwin":  # which refuses it
            resource.setrlimit(what, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 2))  # the first ends it with a signal that says why


def _leave() -> None:
    """Linux, where the machine allows it without root: into namespaces with no network and nobody to trace. The limits hold anyway."""
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    libc.unshare(0x10000000 | 0x40000000 | 0x08000000)  # CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC


def main(source: BinaryIO, sink: BinaryIO, max_bytes: int, max_pixels: int, min_side: int, memory: int, cpu: int) -> None:
    # Pillow refuses twice this by itself, WebP's canvas before it is made. What is between is ours to refuse, with its size.
    Image.MAX_IMAGE_PIXELS = 2 * max_pixels
    seal(memory, cpu)
    try:
        made = picture(source.read(max_bytes + 1), max_bytes, max_pixels, min_side)
        sink.write(f"rgb {made.width} {made.height}\n".encode())
        for top in range(0, made.height, ROWS):  # in pieces: the whole once more would count against the memory
            sink.write(made.crop((0, top, made.width, min(top + ROWS, made.height))).tobytes())
    except Unacceptable as refused:
        sink.write(b"refused\n" + str(refused).encode())
    sink.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, *map(int, sys.argv[2:7]))
    os._exit(0)  # nothing to tidy, and no interpreter to unwind under a full memory
