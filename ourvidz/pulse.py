"""A sign of life for processes that have no lease: a byte now and then into a pipe that their supervisor reads."""

from __future__ import annotations

import contextlib
import os
import time

VARIABLE = "OURVIDZ_PULSE"


def beat() -> None:
    """Say that this process turns. Does nothing where no supervisor listens."""
    if pipe := os.environ.get(VARIABLE):
        # A supervisor that was stopped lets the pipe fill; one that died has closed it. Neither is our concern here.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(int(pipe), b".")


def rest(seconds: float) -> None:
    """Sleep, and say each second that it is only that."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        beat()
        time.sleep(min(left, 1.0))
