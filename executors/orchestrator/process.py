"""One supervised process: a session of its own, on a leash, its output line by line, killed whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ourvidz import pulse

LEASH = str(Path(__file__).with_name("leash.py"))
LONGEST_LINE = 8_000


class Process:
    """Started by making it. Only the thread that made it may do so: the leash is tied to that thread's life."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, with_pulse: bool = False) -> None:
        self.started = self.heard = time.monotonic()
        self.beats = 0
        self.last_line = ""
        self.silent = False  # it has closed its output
        self._rest = b""
        self.pulse, theirs = os.pipe() if with_pulse else (None, None)
        given = dict(env)
        if theirs is not None and self.pulse is not None:
            os.set_blocking(theirs, False)
            os.set_blocking(self.pulse, False)
            given[pulse.VARIABLE] = str(theirs)
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", LEASH, str(os.getpid()), *argv],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=given, start_new_session=True, pass_fds=() if theirs is None else (theirs,),
            )  # fmt: skip
        finally:
            if theirs is not None:
                os.close(theirs)
        self.pid = self._popen.pid
        assert self._popen.stdout is not None
        self.output = self._popen.stdout.fileno()
        os.set_blocking(self.output, False)

    def signal(self, number: int) -> None:
        """To the whole group when it is to die: what it started goes with it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if number == signal.SIGKILL else os.kill)(self.pid, number)

    def ended(self) -> int | None:
        """The exit code, or minus the signal; None while it lives."""
        if self._popen.returncode is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            self.signal(signal.SIGKILL)  # stragglers of its group: until it is collected, its number is no one else's
            self._popen.wait()
        return self._popen.returncode

    def lines(self, *, all_of_it: bool = False) -> Iterator[str]:
        """What it has written since, in whole lines; the unfinished one too once there will be no more."""
        while chunk := _read(self.output):
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            if len(self._rest) > LONGEST_LINE:
                whole, self._rest = [*whole, self._rest], b""
            yield from self._told(whole)
        self.silent = self.silent or chunk == b""
        if all_of_it and self._rest:
            whole, self._rest = [self._rest], b""
            yield from self._told(whole)

    def _told(self, raw: Sequence[bytes]) -> Iterator[str]:
        for line in raw:
            if text := line.decode(errors="replace").rstrip():
                self.last_line = text
                yield text

    def listen(self) -> None:
        """Take in its pulse."""
        if self.pulse is not None and (beats := _read(self.pulse)):
            self.heard, self.beats = time.monotonic(), self.beats + len(beats)

    def close(self) -> None:
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        if self.pulse is not None:
            os.close(self.pulse)
            self.pulse = None


def _read(fd: int) -> bytes | None:
    """None: nothing now. Empty: nothing ever again."""
    try:
        return os.read(fd, 65_536)
    except BlockingIOError:
        return None
