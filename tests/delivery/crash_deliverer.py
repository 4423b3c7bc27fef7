"""A deliverer that kills its own process after the receiver's answer and before recording it: the message is sent, but not known to
be."""

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
