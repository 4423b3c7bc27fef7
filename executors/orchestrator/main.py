"""The main loop of `ourvidz up`: one thread that starts, reads, collects and signals processes. The registry talks to the database.

A first SIGTERM or Ctrl-C drains: executors finish their jobs, then the other processes stop. A second gives running jobs back at their
next step, a third kills. SIGHUP retries what was given up (from a terminal, where it means that the terminal closes, it drains).
"""

from __future__ import annotations

import fcntl
import os
import queue
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from executors.orchestrator.policy import Rules
from executors.orchestrator.registry import Burial, Registry
from executors.orchestrator.roster import Row
from executors.orchestrator.unit import OWN, Say, Unit
from ourvidz.lifecycle import Jobs

TICK = 0.25
FOLLOWERS_LEAVE = 10.0  # seconds for the reaper and other non-executors to stop after the executors, and for killed processes to end
LAST = 3  # the level at which processes are killed. One that survives SIGKILL hangs in a driver: we exit without it


class UpAlready(Exception):
    """Another `ourvidz up` runs these executors on this machine."""


class Orchestrator:
    def __init__(self, jobs: Jobs, roster: Sequence[Row], home: Path, say: Say, *, rules: Rules | None = None) -> None:
        self.rules, self._say = rules or Rules(), say
        policy, executors = jobs.policy(), [row.name for row in roster if row.executor]
        self.registry = Registry(jobs, socket.gethostname(), executors, policy)
        self.units = [Unit(row, home, self.registry, policy, self.rules, say) for row in roster]
        self.executors = [unit for unit in self.units if unit.row.executor]
        self.followers = [unit for unit in self.units if not unit.row.executor]
        self._asked = self._level = 0
        self._escalate = self._busy = 0.0
        self._done: int | None = None
        self._reopen = False

    def run(self, *, idle_exit: float | None = None) -> int:
        """Run until drained, or idle for `idle_exit` seconds: returns 0. Returns 1 when all executors were given up."""
        code, self._busy = 0, time.monotonic()
        with self._hearing_signals() as selector:
            while True:
                self._round(stopping=False)
                if self._asked:
                    break
                if all(unit.given_up for unit in self.executors):
                    code = 1
                    self._say(OWN, "Every executor was given up: leaving.")
                    break
                if idle_exit is not None and self._idle() > idle_exit:
                    self._say(OWN, f"Nothing to do for {idle_exit:.0f} s: leaving.")
                    break
                self._wait(selector)
            self._drain(selector)
        self.registry.close()
        self._say(OWN, "Gone.")
        return code

    def reopen(self) -> None:
        for unit in self.units:
            unit.reopen()

    # -- one round --------------------------------------------------------------------------------------------------------------------

    def _round(self, *, stopping: bool) -> None:
        if self._reopen and not stopping:
            self._reopen = False
            self.reopen()
        if (look := self.registry.look) is not None:
            for unit in self.executors:
                unit.looked(look)
        while (burial := _next(self.registry)) is not None:
            for unit in self.executors:
                if unit.row.name == burial.name:
                    unit.buried(burial)
        for unit in self.units:
            unit.turn(time.monotonic(), stopping=stopping)

    def _idle(self) -> float:
        """Return the seconds since one of our executors had a job, or a job waited in our lanes; 0 while that is unknown."""
        look, now = self.registry.look, time.monotonic()
        if look is None or now - look.at > 10:
            self._busy = now
            return 0.0
        ours = [look.sights.get((u.row.name, u.process.pid)) for u in self.executors if u.process is not None]
        lanes = {lane for unit in self.executors if unit.given_up is None for lane in unit.served}
        done = sum(sight.done for sight in ours if sight is not None)
        starting = any(sight is None for sight in ours)
        if starting or done != self._done or any(s.held for s in ours if s) or any(look.ready.get(lane) for lane in lanes):
            self._busy, self._done = now, done
        return now - self._busy

    # -- leaving ----------------------------------------------------------------------------------------------------------------------

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """Stop the executors first, so that the reaper and the deliverer still handle what they leave."""
        self._asked = max(self._asked, 1)
        self._to(1)
        while any(unit.process is not None for unit in self.executors) and self._level <= LAST:
            if self._asked > self._level or time.monotonic() > self._escalate:
                self._to(self._level + 1)
            self._round(stopping=True)
            self._wait(selector)
        for unit in self.followers:
            unit.stop(signal.SIGTERM)
        until = time.monotonic() + FOLLOWERS_LEAVE
        while any(unit.process is not None for unit in self.followers) and time.monotonic() < until + FOLLOWERS_LEAVE:
            if time.monotonic() > until or self._level >= LAST:
                for unit in self.followers:
                    unit.stop(signal.SIGKILL)
            self._round(stopping=True)
            self._wait(selector)

    def _to(self, level: int) -> None:
        """Raise the drain level. 1: finish jobs. 2: give running jobs back. 3: kill."""
        self._level = level
        limit = {1: self.rules.drain_limit, 2: self.rules.give_back}.get(level, FOLLOWERS_LEAVE)
        self._escalate = time.monotonic() + limit
        said = {1: "Draining: running jobs are finished first. Once more to give them back.",
                2: "Giving running jobs back at their next step. Once more to kill."}.get(level, "Killing what is left.")  # fmt: skip
        if any(unit.process is not None for unit in self.executors):
            self._say(OWN, said)
        for unit in self.executors:
            unit.stop(signal.SIGTERM if level < LAST else signal.SIGKILL)

    # -- waiting ----------------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _hearing_signals(self) -> Iterator[selectors.BaseSelector]:
        """Install signal handlers; any signal, SIGCHLD too, ends a wait at once."""
        reader, writer = os.pipe()
        for fd in (reader, writer):
            os.set_blocking(fd, False)
        again = self._ask if sys.stdin is not None and sys.stdin.isatty() else self._again
        handlers = {signal.SIGTERM: self._ask, signal.SIGINT: self._ask, signal.SIGHUP: again, signal.SIGCHLD: lambda *_: None}
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # set by nohup
            del handlers[signal.SIGHUP]
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        woken = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(reader, selectors.EVENT_READ)
                yield selector
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _wait(self, selector: selectors.BaseSelector) -> None:
        outputs = [unit.process.output for unit in self.units if unit.process is not None and not unit.process.silent]
        for fd in outputs:
            selector.register(fd, selectors.EVENT_READ, data="output")
        try:
            ready = selector.select(TICK)
        finally:
            for fd in outputs:
                selector.unregister(fd)
        for key, _ in ready:
            if key.data is None:
                os.read(key.fd, 4096)  # discard the signal numbers; the handlers have run

    def _ask(self, *_: object) -> None:
        self._asked += 1

    def _again(self, *_: object) -> None:
        self._reopen = True


def _next(registry: Registry) -> Burial | None:
    try:
        return registry.burials.get_nowait()
    except queue.Empty:
        return None


@contextmanager
def alone(home: Path, name: str) -> Iterator[None]:
    """Hold the lock that allows one supervisor for executors of these names. Raises `UpAlready`."""
    folder = home / "executors"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.up.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "?"
            raise UpAlready(f"`ourvidz up` runs here already (process {pid}). Stop that one, or give this one another --name.") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
