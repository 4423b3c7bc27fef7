"""A drainer that kills itself at a named point: `crash_drainer.py DATABASE_URL UPSTASH_URL TOKEN POINT NTH`."""

from __future__ import annotations

import os
import signal
import sys

from ourvidz.db.connection import Database
from ourvidz.intake.drain import Drainer
from ourvidz.intake.upstash import Upstash

database_url, upstash_url, token, point, nth = sys.argv[1:]
left = int(nth)


def at(here: str) -> None:
    global left
    if here == point:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


drainer = Drainer(Database(database_url), Upstash(upstash_url, token), ("sdxl_queue", "wan_queue"), batch=4, at=at)
while drainer.once():
    pass
