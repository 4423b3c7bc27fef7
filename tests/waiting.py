"""Wait for an effect of another process, thread or session: poll the condition itself, never sleep a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

LIMIT = 150.0
"""Seconds. Longer than anything takes, even on a busy machine: beyond it, the wait would never end."""


def wait_for(what: Callable[[], Any], about: str | Callable[[], str] = "") -> Any:
    """Return `what()` as soon as it is true. `about`: text for the failure, or a function that makes it then.

    Polls every 10 ms at first, then less often: a hundred queries a second would slow down the very thing it waits for.
    """
    until, pause = time.monotonic() + LIMIT, 0.01
    while not (found := what()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {LIMIT:.0f} s in vain {about if isinstance(about, str) else about()}")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.25)
    return found
