"""A drainer that kills its own process at a named point."""

from __future__ import annotations

import os
import signal

from ourvidz.db.connection import Database
from ourvidz.intake.drain import Drainer
from ourvidz.intake.upstash import Upstash


def drain(database_url: str, upstash_url: str, token: str, point: str, nth: int) -> None:
    """Drain until `point` is reached for the nth time."""
    left = nth

    def at(here: str) -> None:
        nonlocal left
        if here == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    drainer = Drainer(Database(database_url), Upstash(upstash_url, token), ("sdxl_queue", "wan_queue"), batch=4, at=at)
    while drainer.once():
        pass
