"""Sandboxed program that decodes one user's picture: bytes in on stdin, pixels out on stdout.

It is started by path, with an empty environment, and imports only the standard library, Pillow, pillow-heif and `executors.decoding`,
neither torch nor any other module of ours: an exploit finds no secrets and no network. `executors.reference_files` starts it and reads its
answer: `rgb KIND W H` and W×H×3 bytes, or `refused` and a message.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import TYPE_CHECKING

if __name__ == "__main__":  # started with -I -S, so these are the only import paths besides the standard library
    sys.path += [sys.argv[1], os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]  # noqa: PTH100, PTH120  (pathlib costs 10 ms)

from PIL import Image, UnidentifiedImageError

from executors.decoding import ACCEPTED, Unacceptable, confine
from executors.decoding.bare import BARE
from executors.decoding.colours import to_srgb
from executors.decoding.kinds import kind

if TYPE_CHECKING:
    from typing import BinaryIO

MEMORY = 1 << 30
"""Bytes of address space. The largest picture allowed, 25 million pixels with transparency, takes three quarters of it."""
ROWS = 256  # written at a time
CPU = 20  # seconds; that largest picture takes about two

TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → the transposition that turns the picture upright."""


def picture(data: bytes, max_bytes: int, max_pixels: int, min_side: int) -> tuple[str, Image.Image]:
    """Return the kind of file and the picture in `data`: RGB (sRGB), upright.

    The kind is detected from the bytes, never from a name or a header. Raises `Unacceptable` saying what is wrong and what is accepted;
    sizes are checked in the file's header, before a pixel is decoded.
    """
    if not data:
        raise Unacceptable(f"The reference is empty. {ACCEPTED}.")
    if len(data) > max_bytes:
        raise Unacceptable(f"The reference has {len(data):,} bytes. {ACCEPTED} of up to {max_bytes:,} bytes.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit below is stricter
            found = BARE[kind(data)](data)
            with Image.open(io.BytesIO(found.data), formats=[kind(data)]) as opened:
                _check(opened, max_pixels, min_side)
                opened.load()  # decodes; raises for a truncated file
                # Pillow reports an AVIF's rotation as EXIF that it synthesizes; a HEIC's is already applied.
                turned = opened.getexif().get(0x0112, 1) if kind(data) == "AVIF" else found.orientation
                return kind(data), _plain(opened, turned, opened.info.get("icc_profile") or found.profile)
    except Unacceptable:
        raise
    except MemoryError:
        raise Unacceptable(f"The reference takes too much memory to decode. {ACCEPTED}.") from None
    except Image.DecompressionBombError:
        raise Unacceptable(f"The reference has far too many pixels. {ACCEPTED} of up to {max_pixels:,} pixels.") from None
    except UnidentifiedImageError:
        raise Unacceptable(f"The reference is a damaged {kind(data)}: it begins like one and goes on otherwise. {ACCEPTED}.") from None
    except Exception as error:  # decoders raise many types for damaged files, and the file is always to blame
        raise Unacceptable(f"The reference is truncated or damaged ({_printable(error)}). {ACCEPTED}.") from error


def _printable(error: Exception) -> str:
    """Sanitise a decoder's message, which may quote the file: printable ASCII, at most 200 characters."""
    words = "".join(c if c.isascii() and c.isprintable() else "?" for c in str(error)[:200])
    return words or type(error).__name__


def _check(opened: Image.Image, max_pixels: int, min_side: int) -> None:
    width, height = opened.size
    if width * height > max_pixels:
        raise Unacceptable(f"The reference has {width}×{height} pixels. {ACCEPTED} of up to {max_pixels:,} pixels.")
    if min(width, height) < min_side:
        raise Unacceptable(f"The reference has {width}×{height} pixels. {ACCEPTED} of at least {min_side} pixels a side.")
    # A HEIC with several pictures is not an animation: phones store extra shots or exposures after the first.
    if opened.format != "HEIF" and getattr(opened, "n_frames", 1) > 1:
        raise Unacceptable(f"The reference is animated. {ACCEPTED} that stands still.")


def _plain(image: Image.Image, orientation: int, profile: bytes | None) -> Image.Image:
    if image.mode in ("I", "I;16", "I;16B", "F"):
        # 16 bits per channel: Pillow's own conversion clips at 255, which turns most of the picture white.
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
    image = to_srgb(image, profile)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
    return image.transpose(TURNED[orientation]) if orientation in TURNED else image


def prepare(data: bytes) -> bool:
    """Import what this kind of file's decoder needs, before `seal` forbids opening files. Looks only at the first bytes. Returns whether
    the decoder needs a thread."""
    try:
        needed = kind(data)
    except Unacceptable:
        return False  # nothing will be decoded
    from PIL import TiffImagePlugin  # noqa: F401  (for EXIF)

    Image.preinit()
    if needed == "HEIF":
        from pillow_heif import register_heif_opener

        # One thread, libde265's own; no thumbnails, depth or auxiliary images are read.
        register_heif_opener(decode_threads=0, thumbnails=False, depth_images=False, aux_images=False)
    elif needed == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the calling thread
    elif needed == "WEBP":
        from PIL import WebPImagePlugin  # noqa: F401
    return needed == "HEIF"


def seal(memory: int = MEMORY, cpu: int = CPU, *, thread: bool = False) -> None:
    """Irrevocably give up all privileges that decoding does not need. Import everything before. `memory` in bytes, `cpu` in seconds;
    `thread`: the decoder may start threads."""
    import resource

    confine.leave()
    bounded = confine.only_threads()
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        *([] if thread and bounded else [(resource.RLIMIT_NPROC, 0)]),  # counts threads too
        (resource.RLIMIT_NOFILE, 0),  # no new descriptors: no file, socket or pipe can be opened, with or without a network
    ):
        if what != resource.RLIMIT_AS or sys.platform != "darwin":  # macOS refuses RLIMIT_AS
            resource.setrlimit(what, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 2))  # the soft limit ends it with SIGXCPU, which tells the parent why


def main(source: BinaryIO, sink: BinaryIO, max_bytes: int, max_pixels: int, min_side: int, memory: int, cpu: int) -> None:
    # Pillow itself refuses pictures above twice MAX_IMAGE_PIXELS (a WebP before its canvas is allocated). `_check` applies our own limit.
    Image.MAX_IMAGE_PIXELS = 2 * max_pixels
    data = source.read(max_bytes + 1)
    seal(memory, cpu, thread=prepare(data))
    try:
        found, made = picture(data, max_bytes, max_pixels, min_side)
        sink.write(f"rgb {found} {made.width} {made.height}\n".encode())
        for top in range(0, made.height, ROWS):  # in pieces: a second copy of the whole would count against the memory limit
            sink.write(made.crop((0, top, made.width, min(top + ROWS, made.height))).tobytes())
    except Unacceptable as refused:
        sink.write(b"refused\n" + str(refused).encode())
    sink.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, *map(int, sys.argv[2:7]))
    os._exit(0)  # skips the interpreter's teardown, which could fail at the memory limit
