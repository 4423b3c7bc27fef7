"""Decode untrusted reference pictures: bytes in, one checked RGB picture out.

`executors.decoder` checks and decodes, in one process per picture: an exploited decoder bug finds no other user's data, no secret, no file
and no network there. Takes about 0.1 s (docs/decisions/0019), beside the device.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Timer

import PIL
from PIL import Image

from executors import decoder
from executors.decoding import ACCEPTED, kinds
from executors.errors import BadReference, ExecutorError, ReferenceAway

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 25_000_000
MIN_SIDE = 64  # pixels; below four of Wan's 16-pixel patches a picture is useless to the model
WALL = 60.0  # seconds; CPU time is limited to a third of it, the rest allows for a busy machine
WORDS = 2_000  # maximum bytes of a refusal

_COMMAND = (sys.executable, "-I", "-S", "-B", decoder.__file__, str(Path(PIL.__file__).parents[1]))
# Empty, except for what some Python builds need to find their library.
_ENVIRONMENT = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}


def load_reference(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE) -> Image.Image:
    """Return the picture in `data`: RGB (sRGB), upright, without any metadata (EXIF may hold GPS coordinates). Raises as `read`."""
    return read(data, max_bytes=max_bytes, max_pixels=max_pixels, min_side=min_side)[1]


def read(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS, min_side: int = MIN_SIDE) -> tuple[str, Image.Image]:
    """Return the media type of `data` and the picture in it, as `load_reference`. Decodes in a separate process.

    Raises `BadReference` saying what is wrong and what is accepted, and `ReferenceAway` when the process could not decode.
    """
    figures = [str(figure) for figure in (max_bytes, max_pixels, min_side, decoder.MEMORY, decoder.CPU)]
    try:
        child = subprocess.Popen(
            [*_COMMAND, *figures], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_ENVIRONMENT, cwd="/"
        )
    except OSError as error:
        raise ReferenceAway(f"No process could be started to decode the reference: {error.strerror}.") from error
    assert child.stdin is not None and child.stdout is not None
    # Killing it closes its pipes, so nothing below waits longer than WALL.
    alarm = Timer(WALL, child.kill)
    alarm.start()
    try:
        with suppress(BrokenPipeError):  # it ended early; its answer or exit status tells why
            child.stdin.write(data[: max_bytes + 1])
            child.stdin.close()
        head = child.stdout.readline(100)
        # The child is untrusted too: its answer is checked against the limits that it was given.
        kind, width, height = _head(head, max_pixels)
        whole = width * height * 3
        body = child.stdout.read(whole + 1 if whole else WORDS)
    finally:
        alarm.cancel()
        child.kill()
        child.stdout.close()
        with suppress(BrokenPipeError):
            child.stdin.close()
        status = child.wait()
    if head == b"refused\n":
        raise BadReference(body.decode(errors="replace"))
    if whole and len(body) == whole:
        return kinds.READ[kind], Image.frombytes("RGB", (width, height), body)
    if head and (not whole or len(body) > whole):
        status = 0  # invalid or endless output: blame the file, since the kill was ours
    raise _broke(status)


def _head(head: bytes, max_pixels: int) -> tuple[str, int, int]:
    """Parse the decoder's first line: kind, width and height; `("", 0, 0)` if invalid."""
    found = re.fullmatch(rb"rgb ([A-Z]{1,9}) ([0-9]{1,6}) ([0-9]{1,6})\n", head)
    if not found or (kind := found[1].decode()) not in kinds.READ or int(found[2]) * int(found[3]) > max_pixels:
        return "", 0, 0
    return kind, int(found[2]), int(found[3])


def _broke(status: int) -> ExecutorError:
    """Return the error for a decoder that gave no answer: the file's fault if it crashed the decoder, else perhaps the machine's."""
    if -status == signal.SIGXCPU:
        return BadReference(f"The reference takes over {decoder.CPU} seconds to decode. {ACCEPTED}.")
    if status == 0 or -status in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL):
        return BadReference(f"The reference is damaged: its decoder broke off. {ACCEPTED}.")
    return ReferenceAway(f"The reference could not be decoded just now: the decoder ended with status {status}.")
