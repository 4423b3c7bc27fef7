"""Waiting for what another process, thread or session does: for the thing itself, and never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

LIMIT = 150.0
"""Seconds. Nothing takes so long, not even on a machine that is busy with other work: whoever waits this long waits for ever."""


def wait_for(what: Callable[[], Any], about: str | Callable[[], str] = "") -> Any:
    """What `what` answers, as soon as that is true. `about` is for the failure: a text, or what makes one then.

    Asked every 10 ms at first, and ever less often: who asks a database a hundred times a second takes the machine from what it waits for.
    """
    until, pause = time.monotonic() + LIMIT, 0.01
    while not (found := what()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {LIMIT:.0f} s in vain {about if isinstance(about, str) else about()}")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.25)
    return found
