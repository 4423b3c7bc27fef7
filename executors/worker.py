"""The loop of an executor: register, claim, run; drain on a signal; register anew when it was declared gone."""

from __future__ import annotations

import fcntl
import logging
import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from executors.heartbeat import Heartbeat
from executors.run import Room, attempt
from executors.shelf import Shelf
from executors.spool import Spool
from ourvidz.audit import publish_heads
from ourvidz.db.connection import Ambiguous, DatabaseAway, Listener
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.progress import Observer, Progress
from ourvidz.storage.base import ArtifactStore
from state.errors import ExecutorGone
from state.policy import Policy

log = logging.getLogger("ourvidz.worker")

T = TypeVar("T")

POLL = 1.0  # seconds, beneath NOTIFY; with jitter
TIDY = 60.0  # seconds between two rounds of housekeeping


class Worker:
    """One executor. `run` claims and runs jobs one at a time until it is told to stop, or has nothing more to do."""

    def __init__(
        self,
        jobs: Jobs,
        store: ArtifactStore,
        shelf: Shelf,
        home: Path,
        *,
        name: str | None = None,
        lanes: Sequence[str] | None = None,
        observe: Observer | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.jobs, self.store, self.shelf, self.home = jobs, store, shelf, home
        self.policy = policy or jobs.policy()
        self.spool = Spool(home / "spool", self.policy.spool_bytes)
        self._wanted = None if lanes is None else frozenset(lanes)
        self._slot, self.name = _take_slot(home, name)
        self._observe = observe or (lambda _: None)
        self._now: dict[str, Any] = {}
        self.draining = False
        self.heartbeat: Heartbeat | None = None

    @property
    def lanes(self) -> list[str]:
        return [lane for lane in self.shelf.lanes if self._wanted is None or lane in self._wanted]

    def run(self, *, until: Collection[str] | None = None, idle_exit: float | None = None) -> None:
        """Work until drained; or until the jobs in `until` have ended; or until nothing came for `idle_exit` seconds.

        Raises `DatabaseAway` when there is no database to begin with. One that goes away later is waited for.
        """
        try:
            executor_id = self._register()
            while not self._work(executor_id, until, idle_exit):
                log.warning("Declared gone: registering anew.")
                while (again := self._patiently(self._register)) is None:
                    if self.draining:
                        return
                executor_id = again
        finally:
            self._slot.close()

    def stop(self) -> None:
        """Finish the job that runs, then leave. Told twice: give the job back at its next step. A signal's handler may call it."""
        if self.heartbeat is not None:
            self.heartbeat.abort = self.draining
            self.heartbeat.wake.ring()
        self.draining = True

    def _register(self) -> str:
        return self.jobs.register(self.name, socket.gethostname(), os.getpid(), self.lanes, {"tiny": self.shelf.tiny})

    def _work(self, executor_id: str, until: Collection[str] | None, idle_exit: float | None) -> bool:
        """One registration's life. True when the work is over, False when this executor was declared gone."""
        beat = Heartbeat(self.jobs, executor_id, self.policy, report=lambda: self._now)
        beat.lanes, beat.resident, self.heartbeat = self.lanes, self.shelf.resident, beat
        room = Room(self.jobs, self.store, self.shelf, self.spool, beat, self.policy, self._watch)
        listener = Listener(self.jobs.db.url, executor_id, beat.ring)
        beat.start()
        log.info("Executor %s serves %s.", self.name, ", ".join(self.lanes))
        worked, tidied = time.monotonic(), 0.0
        try:
            while not beat.gone:
                if self.draining or (until is not None and self._patiently(lambda: self.jobs.all_ended(until))):
                    return True
                if time.monotonic() - tidied > TIDY:
                    self._tidy()
                    tidied = time.monotonic()
                claim = self._claim(beat)
                if claim is not None:
                    outcome = attempt(room, claim)
                    self._watch(Progress(claim.job_id, claim.job_type, outcome))
                    log.info("Job %s (%s): %s.", claim.job_id, claim.job_type, outcome)
                    beat.lanes, beat.resident, self._now = self.lanes, self.shelf.resident, {}
                    worked = time.monotonic()
                    if outcome == "lost":
                        self._let_go(beat, "lost")
                elif idle_exit is not None and time.monotonic() - worked > idle_exit:
                    return True
            return False
        finally:
            self._leave(beat, listener)

    def _claim(self, beat: Heartbeat) -> Claim | None:
        """The next job; None after waiting a while for one in vain."""
        beat.wake.clear()
        try:
            for _ in range(2):
                # Twice: the first empty answer marks us as waiting, so that submits from then on wake us; the second look finds what
                # was submitted in between.
                claims = self.jobs.claim(beat.executor_id, lanes=self.lanes, resident=self.shelf.resident)
                if claims:
                    return claims[0]
        except Ambiguous:
            log.warning("A claim's answer was lost.")
            self._let_go(beat, "lost answer")
            return None
        except ExecutorGone:
            beat.gone = True
            return None
        except DatabaseAway as error:
            log.warning("%s", error)
        beat.wake.wait(POLL * random.uniform(0.5, 1.5))
        return None

    def _let_go(self, beat: Heartbeat, cause: str) -> None:
        """We may still hold a job that nobody works on, and our heartbeat would keep it so. Only a new registration is sure to end that;
        unsaid, because the database is away, it ends when the old one's lease runs out."""
        beat.gone = True
        self._patiently(lambda: self.jobs.executor_gone(beat.executor_id, cause))

    def _patiently(self, ask: Callable[[], T]) -> T | None:
        """An answer, or None while the database is away: a worker outlives that, however long it takes."""
        try:
            return ask()
        except DatabaseAway as error:
            log.warning("%s", error)
            return None

    def _tidy(self) -> None:
        """Keep the spool within its bounds, and the chain's newest heads outside the database."""
        try:
            self.spool.sweep()
            publish_heads(self.jobs.db, self.home / "heads.jsonl")
        except Exception as error:  # noqa: BLE001  (the database away, a full disk: the next round comes, and no job waits for this one)
            log.warning("Housekeeping was not finished this time: %s: %s", type(error).__name__, error)

    def _watch(self, progress: Progress) -> None:
        self._now = {"job": progress.job_id, "stage": progress.stage, "done": progress.done, "total": progress.total}
        try:
            self._observe(progress)
        except Exception as error:  # noqa: BLE001  (a terminal that was closed, say: no reason to fail the job)
            log.warning("Nobody watches any more: %s: %s", type(error).__name__, error)
            self._observe = lambda _: None

    def _leave(self, beat: Heartbeat, listener: Listener) -> None:
        self._tidy()
        beat.stop()
        listener.close()
        try:
            self.jobs.drain(beat.executor_id, done=True)
        except (DatabaseAway, ExecutorGone) as error:
            log.warning("Left without saying so (%s): the lease will run out.", error)


def handle_signals(worker: Worker) -> None:
    """SIGTERM and Ctrl-C drain; a second one gives the running job back at its next step; a third kills."""

    def on_signal(number: int, _frame: object) -> None:
        if worker.draining:
            signal.signal(number, signal.SIG_DFL)
        log.warning("Giving the job back." if worker.draining else "Finishing the job that runs; once more to give it back.")
        worker.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def _take_slot(home: Path, name: str | None) -> tuple[IO[str], str]:
    """A name that stays the same over restarts, and is no one else's at the same time: the host's, and the first free number.

    A job that killed its executor is kept from the executor of that name, so a restart must not look like another machine.
    """
    folder = home / "executors"
    folder.mkdir(parents=True, exist_ok=True)
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:60] or "host"
    candidates = [name] if name else [f"{host}-{n}" for n in range(256)]
    for candidate in candidates:
        slot = (folder / f"{candidate}.lock").open("w")
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            slot.close()
            continue
        return slot, candidate
    raise RuntimeError(f"An executor called {candidates[0]} runs here already. Choose another --name.")
