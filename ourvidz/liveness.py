"""Liveness signal of processes that have no lease: a byte now and then into a pipe that their supervisor reads."""

from __future__ import annotations

import contextlib
import os
import time

VARIABLE = "OURVIDZ_PULSE"


def beat() -> None:
    """Signal that this process is alive. Does nothing if no supervisor listens."""
    if pipe := os.environ.get(VARIABLE):
        # A stopped supervisor lets the pipe fill; a dead one has closed it. Neither matters here.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(int(pipe), b".")


def rest(seconds: float) -> None:
    """Sleep, and signal each second."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        beat()
        time.sleep(min(left, 1.0))
