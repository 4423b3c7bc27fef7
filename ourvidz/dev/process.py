"""A child process of the stack: it has a log, is ready before it is used, and is killed with its parent however that ends."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ourvidz.db import supervisor
from ourvidz.db.server_user import UNNAMED_UIDS

PATIENCE = 30.0  # seconds to start, on a busy machine
ATTEMPTS = 3  # another program may take a free port before we bind it


class NotUp(Exception):
    """A part did not start. The end of its log says why."""


class Process:
    """Started by the constructor. Use a thread that stays: the kernel kills the child when the thread that started it ends."""

    def __init__(self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str], *, demoted: bool = False) -> None:
        """`demoted`: for programs that refuse root. Runs as a uid without an account, with CAP_DAC_OVERRIDE to reach private folders."""
        self.name, self.log = name, log
        uid, gid, capability = os.getuid(), os.getgid(), None
        if demoted and uid == 0:
            uid = gid = UNNAMED_UIDS[-1]
            capability = supervisor.CAP_DAC_OVERRIDE
        # Secrets go by the environment, never in argv, which every account can read.
        line = supervisor.command(list(argv), uid, gid, capability, signal.SIGKILL)
        with log.open("ab") as file:
            self._popen = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env={**_BARE, **env}, start_new_session=True
            )

    def until(self, ready: Callable[[], bool]) -> Process:
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if self._popen.poll() is not None or time.monotonic() > deadline:
                ended = self._popen.returncode
                self.stop()
                what = f"does not answer after {PATIENCE:g} s" if ended is None else f"ended with {ended}"
                raise NotUp(f"{self.name} {what}. The end of {self.log}:\n{self.tail()}")
            time.sleep(0.02)
        return self

    def tail(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def stop(self, *, kill: bool = False) -> None:
        """SIGTERM, and SIGKILL after five seconds; at once with `kill`."""
        if self.alive:
            self._popen.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


_BARE = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE") if name in os.environ}


def on_free_port(start: Callable[[int], Process], port: int = 0) -> tuple[Process, int]:
    """Call `start` with `port`, or with a free one; a free port that fails is tried `ATTEMPTS` times."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            chosen = port or free_port()
            return start(chosen), chosen
        except NotUp:
            if port or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def free_port() -> int:
    """A free port below the kernel's ephemeral range, so that no outgoing connection takes it before the child binds it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port


def listening(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with socket.socket() as found:
            found.settimeout(1)
            return found.connect_ex(("127.0.0.1", port)) == 0

    return ready


def answering(url: str) -> Callable[[], bool]:
    """Return a function that checks if a GET of `url` answers with 2xx."""

    def ready() -> bool:
        from urllib.error import URLError
        from urllib.request import ProxyHandler, build_opener

        try:
            with build_opener(ProxyHandler({})).open(url, timeout=2) as answer:  # no proxy: it is on this machine
                return 200 <= int(answer.status) < 300
        except (URLError, OSError):
            return False

    return ready
