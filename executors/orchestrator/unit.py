"""One row of the roster over all its processes: start, watch, declare gone, restart."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from executors.gauges import CLOSED
from executors.orchestrator.lanes import Lanes
from executors.orchestrator.policy import Crash, Health, Restarts, Rules, blame
from executors.orchestrator.process import Process
from executors.orchestrator.registry import Burial, Look, Registry
from executors.orchestrator.roster import Row
from state.policy import Policy

Say = Callable[[str, str], None]
"""Called with (name, line)."""
OWN = "up"
HUNG, DIED, STOPPED = "hung", "died", "stopped"  # causes of death, as recorded in events


class Unit:
    def __init__(self, row: Row, home: Path, registry: Registry, policy: Policy, rules: Rules, say: Say) -> None:
        self.row, self.registry, self.policy, self.rules, self._say = row, registry, policy, rules, say
        self.process: Process | None = None
        self.given_up: str | None = None
        self.lanes = Lanes(home / "executors" / f"{row.name}.lanes.json", rules)
        self._restarts, self._health = Restarts(), Health(0.0)
        self._due = 0.0
        self._ended: tuple[int, float, int] | None = None  # pid, lifetime in seconds, exit code; until its `Burial`
        self._early: tuple[Burial, dict[str, Crash]] | None = None
        self._cause: str | None = None  # why we killed it
        self._last = ""
        self._waited: float | None = None  # when an executor last reported waiting for the database (ourvidz.liveness)

    def say(self, line: str) -> None:
        self._say(OWN, f"{self.row.name}: {line}")

    @property
    def served(self) -> list[str]:
        return [lane for lane in self.row.lanes if lane not in self.lanes.closed]

    # -- one round --------------------------------------------------------------------------------------------------------------------

    def turn(self, now: float, *, stopping: bool) -> None:
        """Collect the process if it died, kill it if it hangs, start it if that is due."""
        if self.process is not None:
            self._hear(self.process)
            if (code := self.process.ended()) is not None:
                self._collect(self.process, code, stopping=stopping)
            elif reason := self._hung(self.process, now):
                self._kill(self.process, reason)
        elif self._ended is None and self.given_up is None and not stopping and now >= self._due:
            self._start()

    def looked(self, look: Look) -> None:
        if self.process is not None and self.row.executor:
            self._health = self._health.looked(look.sights.get((self.row.name, self.process.pid)), look.at)

    def buried(self, burial: Burial) -> None:
        """Handle a `Burial`: the executor is declared gone, so the process may start again. The jobs it held decide which lane to blame."""
        blamed = blame(burial.held, burial.at)
        if self.process is not None and burial.pid == self.process.pid:
            self._early = burial, blamed  # killed, not collected yet: a second burial follows, which finds no jobs any more
            return
        if self._ended is None or burial.pid != self._ended[0]:
            return
        if self._early is not None and self._early[0].pid == burial.pid:
            burial, blamed = self._early
        (_, lived, code), self._ended, self._early = self._ended, None, None
        explained = bool(blamed) or code == 0 or self._after_outage
        if code and self._cause != STOPPED:
            for lane in self.lanes.crashed(blamed, burial.served):
                self._tell_closed(lane)
        self._again(lived, code, explained=explained)

    def stop(self, number: int) -> None:
        if self.process is None:
            return
        if number == signal.SIGKILL:
            self._cause = STOPPED
        self.process.signal(number)

    def reopen(self) -> None:
        """Retry what was given up and open all lanes, at an operator's request."""
        if self.given_up is not None:
            self.say("trying again.")
            self.given_up, self._restarts, self._due = None, Restarts(), 0.0
        if self.row.executor and (opened := self.lanes.open()):
            self.say(f"opening {', '.join(opened)} again, with the next start.")
            self.stop(signal.SIGTERM)

    # -- lifecycle --------------------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        lanes = self.served
        if self.row.executor and not lanes:
            self.given_up = "all its lanes are closed"
            self.say(f"given up, since {self.given_up}. " + self._advice())
            return
        env = {**os.environ, "PYTHONUNBUFFERED": "1", **self.row.env}
        if self.lanes.closed:
            env[CLOSED] = ",".join(sorted(self.lanes.closed))
        self.process = Process(self.row.argv(lanes), env, with_pulse=True)
        self._cause = None
        self._health = Health(self.process.started)
        if self.row.executor:
            self.registry.lives(self.row.name, self.process.pid)

    def _hear(self, process: Process, *, all_of_it: bool = False) -> None:
        beats = process.beats
        process.listen()
        if self.row.executor and process.beats > beats:
            self._waited = process.heard
        for line in process.lines(all_of_it=all_of_it):
            self._say(self.row.name, line)

    def _hung(self, process: Process, now: float) -> str | None:
        if self._cause is not None:
            return None
        if not self.row.executor:  # its pulse goes on while it waits for the database
            limit = self.rules.pulse_limit if process.beats else self.rules.start_limit
            return f"no pulse for {now - process.heard:.0f} s" if now - process.heard > limit else None
        look = self.registry.look
        # While the database does not answer, or has only just come back, an old lease proves nothing.
        patience = self._health.patience(self.policy.heartbeat, self.policy.load_stall, outage=self._after_outage, rules=self.rules)
        at = look.at if look is not None else process.started
        return self._health.reason if self._health.hung(at, patience) else None

    @property
    def _after_outage(self) -> bool:
        """Check if the database was away recently, for us or for this process: then a process that gave up waiting, or lost its lease, is
        not to blame. The database may answer our reads but accept no writes, which only the processes that write notice."""
        seen = [at for at in (self.registry.outage, self._waited) if at is not None]
        return bool(seen) and time.monotonic() - max(seen) < self.policy.load_stall

    def _kill(self, process: Process, reason: str) -> None:
        self.say(f"process {process.pid} hangs ({reason}): killed, and to be replaced.")
        self._cause = HUNG
        process.signal(signal.SIGKILL)
        if self.row.executor:
            # At once: a driver may hold the dying process for long, and its jobs need not wait for that.
            self.registry.bury((self.row.name, process.pid), HUNG, self.lanes.last_crash)

    def _collect(self, process: Process, code: int, *, stopping: bool) -> None:
        self._hear(process, all_of_it=True)
        process.close()
        self.process = None
        lived = time.monotonic() - process.started
        if not stopping or code:
            self.say(f"process {process.pid} {_how(code)} after {lived:.0f} s.")
        self._last = process.last_line
        if self.row.executor:
            self._ended = process.pid, lived, code
            self.registry.lives(self.row.name, None)
            self.registry.bury((self.row.name, process.pid), self._cause or DIED, self.lanes.last_crash)
        else:
            self._again(lived, code, explained=code == 0 or self._after_outage)

    def _again(self, lived: float, code: int, *, explained: bool) -> None:
        now = time.monotonic()
        self._restarts = self._restarts.died(now, lived, explained=explained, rules=self.rules)
        if self._restarts.given_up(self.rules):
            self.given_up = f"it crashed {self.rules.crashes} times within {self.rules.window:.0f} s, with no job to blame"
            said = f" It last said: {self._last}" if self._last else ""
            self.say(f"given up, since {self.given_up}.{said} Mend that; then SIGHUP to `ourvidz up` ({os.getpid()}) tries again.")
        self._due = now + self._restarts.delay(self.rules)

    def _tell_closed(self, lane: str) -> None:
        jobs = ", ".join(job[:8] for job in self.lanes.jobs(lane))
        self.say(f"lane {lane} is closed here: its model killed the process {self.rules.lane_crashes} times in a row (jobs {jobs}). "
                 + self._advice())  # fmt: skip

    def _advice(self) -> str:
        return (
            "Its jobs wait for another executor. See what the process said above, check the files with `ourvidz models verify`; "
            f"then SIGHUP to `ourvidz up` ({os.getpid()}), or its next start with --reopen, tries again."
        )


def _how(code: int) -> str:
    if code >= 0:
        return "ended" if code == 0 else f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
