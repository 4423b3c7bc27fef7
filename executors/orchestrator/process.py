"""One supervised process: in its own session, tied to its parent's life, its output read by lines, killed with its process group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ourvidz import liveness

LEASH = str(Path(__file__).with_name("leash.py"))
LONGEST_LINE = 8_000


class Process:
    """A process, started by the constructor. Always construct in the same, long-lived thread: PR_SET_PDEATHSIG fires at its end."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, with_pulse: bool = False) -> None:
        self.started = self.heard = time.monotonic()
        self.beats = 0
        self.last_line = ""
        self.silent = False  # it has closed its output
        self._rest = b""
        self.pulse: int | None = None
        theirs: int | None = None
        if with_pulse:
            self.pulse, theirs = os.pipe()
        given = dict(env)
        if theirs is not None and self.pulse is not None:
            os.set_blocking(theirs, False)
            os.set_blocking(self.pulse, False)
            given[liveness.VARIABLE] = str(theirs)
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
        """Send a signal; SIGKILL goes to the whole process group, so that its children die too."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if number == signal.SIGKILL else os.kill)(self.pid, number)

    def ended(self) -> int | None:
        """Return the exit code, or minus the signal; None while the process is alive."""
        if self._popen.returncode is None and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            self.signal(signal.SIGKILL)  # the rest of its group: until it is reaped, its pid cannot be reused
            self._popen.wait()
        return self._popen.returncode

    def lines(self, *, all_of_it: bool = False) -> Iterator[str]:
        """Yield its new output in whole lines; with `all_of_it` the unfinished last line too."""
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
        """Read its pulse."""
        if self.pulse is not None and (beats := _read(self.pulse)):
            self.heard, self.beats = time.monotonic(), self.beats + len(beats)

    def close(self) -> None:
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        if self.pulse is not None:
            os.close(self.pulse)
            self.pulse = None


def _read(fd: int) -> bytes | None:
    """Read what is available. None: nothing now. Empty: end of file."""
    try:
        return os.read(fd, 65_536)
    except BlockingIOError:
        return None
