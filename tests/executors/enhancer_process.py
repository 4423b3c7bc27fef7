"""Enhancer servers that can be killed and stopped, in processes forked by `fork_server.py`.

A prompt that starts with "slowly" takes a tenth of a second per token, so that tests can act in the middle of it; one that starts with
"hangs" stops forever between two tokens. A server logs its actions to its own file, one word per line.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from executors.dialog import beside
from executors.enhance import Enhanced, Enhancer
from executors.enhancer.server import Server
from ourvidz.db.connection import Database

PULSES = 0


class Slow(Enhancer):
    def enhance(self, prompt: str, family: str, *, deadline_s: float, should_stop: Callable[[], None]) -> Enhanced:
        def each_token() -> None:
            should_stop()
            if prompt.startswith("slowly"):
                time.sleep(0.1)
            if prompt.startswith("hangs"):
                print("hangs", PULSES, flush=True)
                time.sleep(1_000)
            print("token", flush=True)

        try:
            return super().enhance(prompt, family, deadline_s=deadline_s, should_stop=each_token)
        finally:
            print("let go", flush=True)


def serve(model: Slow, socket: str, out: str, waiting: int = 8, url: str | None = None) -> None:
    """`url`: a database whose prompt dialog it answers as well."""
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)

    def pulse() -> None:
        global PULSES
        PULSES += 1

    def tell_pulses() -> None:
        while True:
            time.sleep(0.2)
            print("pulses", PULSES, flush=True)

    threading.Thread(target=tell_pulses, daemon=True).start()
    with beside(Path(socket), Database(url) if url else None, guarded=False) as start:

        def ready() -> None:
            print("ready", flush=True)
            start()

        Server(model, Path(socket), waiting=waiting, stall=0.5, pulse=pulse).run(ready)
    print("left", flush=True)
