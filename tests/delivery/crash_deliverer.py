"""A deliverer that kills its own process between the answer and what the database is to hear of it: where a message is sent and nobody
knows."""

from __future__ import annotations

import os
import signal

from ourvidz.db import outbox
from ourvidz.db.connection import Database
from ourvidz.delivery.deliverer import Deliverer
from ourvidz.delivery.sending import Keyring


def send_and_die(database_url: str, secret: str) -> None:
    outbox.sent = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    Deliverer(Database(database_url), Keyring({"ONE_SECRET": secret}), lease=0.5).run(once=True)
