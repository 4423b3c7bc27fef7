"""Renew an executor's lease and watch its claims: which are lost or cancelled, and which have stalled.

One thread sends heartbeats and polls; the others only touch a watch and call `check`. The device is shared: while it is past its stage's
stall limit the lease is not renewed, so all jobs go to other executors although the process lives. Work beside the device (fetching a
reference, an upload) concerns one job: past its limit only that claim is ended.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from executors.errors import Cancelled, LeaseLost
from executors.gauges import Gauges
from ourvidz import liveness
from ourvidz.db.connection import Ambiguous, DatabaseAway, DatabaseBusy
from ourvidz.lifecycle import Claim, Jobs
from state.errors import ExecutorGone, StaleClaim
from state.policy import Policy

log = logging.getLogger("ourvidz.heartbeat")


class Drained(Exception):
    """The executor is leaving: the job is given back."""


class Bell:
    """An event that a signal handler may set. The lock of `threading.Event` is not reentrant: a handler that interrupts its own thread
    inside `wait` would deadlock it. `SimpleQueue.put` is reentrant."""

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        self._rings.put(None)

    def wait(self, timeout: float) -> bool:
        """Return True if it was rung, now or since `clear`."""
        try:
            self._rings.get(timeout=timeout)
        except queue.Empty:
            return False
        return True

    def clear(self) -> None:
        while self.wait(0):
            pass


class Watch:
    """A stall detector: the time of the last progress, and how long the current stage may go without."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.stage, self._limit, self._touched = "idle", math.inf, clock()

    def touch(self, stage: str | None = None, limit: float | None = None) -> None:
        """Record progress. A new stage brings its own stall limit, in seconds."""
        self._touched = self._clock()
        self.stage = stage or self.stage
        self._limit = self._limit if limit is None else limit

    def rest(self) -> None:
        """Go idle: nothing can stall."""
        self.stage, self._limit, self._touched = "idle", math.inf, self._clock()

    @property
    def still(self) -> float:
        """Seconds since the last progress."""
        return self._clock() - self._touched

    @property
    def stalled(self) -> bool:
        return self.still > self._limit


class Hold:
    """A claim that this executor works on. `watch` covers the job's own thread, beside the device."""

    def __init__(self, beat: Heartbeat, claim: Claim, clock: Callable[[], float]) -> None:
        self._beat, self.claim, self.watch = beat, claim, Watch(clock)
        self.begun = False  # until then only prepared: a drain gives it back
        self.cancelled = False
        self.lost = False

    def check(self) -> None:
        """Called between two steps: return to go on, or raise `Cancelled`, `LeaseLost` or `Drained`."""
        if self.lost or self._beat.gone or (self._beat.late and not self._beat.away):
            # Late: no heartbeat succeeded for the length of a lease, so another claim may have the job by now. Not during a database
            # outage: then the job continues, and its next write waits, and is refused if another claim has the job meanwhile.
            raise LeaseLost(f"another claim may have job {self.claim.job_id}")
        if self.cancelled:
            raise Cancelled(self.claim.job_id)
        if self._beat.abort or (self._beat.draining and not self.begun):
            raise Drained


class Heartbeat:
    """The lease of one registered executor, the claims it works on, and the watch on its device."""

    def __init__(
        self,
        jobs: Jobs,
        executor_id: str,
        policy: Policy,
        *,
        report: Callable[[], Mapping[str, Any]],
        stuck: Callable[[], bool] = lambda: False,
        hung: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`stuck`: returns whether nothing more can be claimed, treated like a hung device. `hung`: called when either cost the lease."""
        self.jobs, self.executor_id, self.policy, self._report, self._clock = jobs, executor_id, policy, report, clock
        self._stuck, self._hung = stuck, hung
        self.wake = Bell()  # wakes the claiming thread: there may be work, or room for it
        self._look_now = Bell()
        self.gone = False  # declared gone; this executor must register again
        self.unsure = ""  # why a job may be held that no thread here works on: finish the others, then register again
        self.draining = False  # finish the jobs that have begun, give back those only prepared
        self.abort = False  # a second signal: stop at the next step
        self.lanes: Sequence[str] = ()
        self.resident: Sequence[str] = ()
        self.device = Watch(clock)
        self.holds: dict[tuple[str, int], Hold] = {}
        self.away = False  # the database does not answer or accept writes, so no other executor can claim our jobs either
        self._beaten = clock()
        self._now = False
        self._gauges = Gauges()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._look_now.ring()
        self._thread.join(timeout=10)

    def ring(self) -> None:
        """Called on a NOTIFY for this executor: new work, or a cancel."""
        self.wake.ring()
        self._look_now.ring()

    def beat_now(self) -> None:
        """Send a heartbeat at once, to learn whether this executor was declared gone."""
        self._now = True
        self._look_now.ring()

    # -- called by the other threads ----------------------------------------------------------------------------------------------

    def hold(self, claim: Claim) -> Hold:
        hold = Hold(self, claim, self._clock)
        # Keyed by the claim number too: a failed job may be claimed again here before its first thread has let go.
        self.holds[claim.job_id, claim.claim_no] = hold
        return hold

    def let_go(self, hold: Hold) -> None:
        self.holds.pop((hold.claim.job_id, hold.claim.claim_no), None)
        self.wake.ring()

    @property
    def late(self) -> bool:
        """The last successful heartbeat is older than the lease."""
        return self._clock() - self._beaten > self.policy.lease

    @property
    def stalled(self) -> bool:
        return self.device.stalled or self._stuck()

    # -- the thread ---------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        due = self._clock()
        while not self._stop.is_set():
            try:
                self._look()
                if (self._clock() >= due or self.away or self._now) and not self.gone:
                    self._now = False
                    due = self._clock() + self.policy.heartbeat
                    self._beat()
                    self.away = False
                self.jobs.reap(grace=self.policy.retake)
            except ExecutorGone:
                self.gone = True
            except (DatabaseAway, Ambiguous) as error:
                if not isinstance(error, DatabaseBusy):
                    self._wait_for_database()
            except Exception as error:  # noqa: BLE001  (the next round comes, and `late` tracks the last successful heartbeat)
                log.warning("No heartbeat this time: %s: %s", type(error).__name__, error)
            if self.stalled and self.late:
                self._hung()
            self._look_now.wait(self.policy.control_poll * random.uniform(0.7, 1.0))
            self._look_now.clear()

    def _wait_for_database(self) -> None:
        """Handle an outage (already logged). Waiting for the database is not a stall: the stall limits start when it is back. A pulse tells
        `ourvidz up` that this process lives, since the database cannot."""
        self.away = True
        for watch in (self.device, *(hold.watch for hold in list(self.holds.values()))):
            watch.touch()
        liveness.beat()
        self.jobs.db.bring_back()  # the device thread may be busy for long before it would reconnect

    def _look(self) -> None:
        holds = list(self.holds.values())  # before the query: a claim made in between would seem lost
        if not holds:
            return
        held = self.jobs.held(self.executor_id)
        for hold in holds:
            now = held.get(hold.claim.job_id)
            if now is None or now.claim_no != hold.claim.claim_no:
                hold.lost = True
            elif now.cancel_requested:
                hold.cancelled = True
            if hold.watch.stalled:
                self._end(hold)

    def _end(self, hold: Hold) -> None:
        """End a claim whose own thread hangs beside the device. If that thread continues later, it finds that it has lost the job."""
        said = f"no progress in stage {hold.watch.stage} for {hold.watch.still:.0f} s"
        log.error("Job %s: %s. Its thread is left to itself.", hold.claim.job_id, said)
        at_once = Jobs(self.jobs.db, self.jobs.screen, patience=0.0)  # do not wait in an outage: this thread must go on, and retry later
        with contextlib.suppress(StaleClaim):
            at_once.fail(hold.claim, "stalled", said)
        hold.lost = True
        self.let_go(hold)

    def _info(self) -> dict[str, Any]:
        return {**self._gauges.read(), "finished": self.jobs.completed, **self._report()}

    def _beat(self) -> None:
        if self.stalled:
            log.error("No progress in stage %s for %.0f s: the lease is not renewed.", self.device.stage, self.device.still)
            return
        sent = self._clock()  # before the call: the database counts the lease from before its answer arrives
        self.jobs.heartbeat(self.executor_id, resident=self.resident, lanes=self.lanes, info=self._info())
        self._beaten = sent
