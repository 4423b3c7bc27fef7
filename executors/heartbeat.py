"""Keeps an executor's lease, and says when it is lost.

One thread beats and looks; the device thread only touches a watch and asks `check`. The lease is renewed while the watch was touched
within the current stage's stall limit: a device thread that hangs loses its lease though the process lives.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executors.errors import Cancelled, LeaseLost
from ourvidz.db.connection import Ambiguous, DatabaseAway
from ourvidz.lifecycle import Claim, Jobs
from state.errors import ExecutorGone
from state.policy import Policy

log = logging.getLogger("ourvidz.heartbeat")


@dataclass
class _Hold:
    claim: Claim
    cancelled: bool = False
    lost: bool = False


class Drained(Exception):
    """The executor was told to stop at once: the job is given back."""


class Bell:
    """An event that a signal's handler may ring. `threading.Event` has a lock that is not reentrant: a signal which found its own thread
    inside `wait` would hang it for ever. `SimpleQueue.put` may be called from anywhere."""

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        self._rings.put(None)

    def wait(self, timeout: float) -> bool:
        """True when it was rung, now or since `clear`."""
        try:
            self._rings.get(timeout=timeout)
        except queue.Empty:
            return False
        return True

    def clear(self) -> None:
        while self.wait(0):
            pass


class Heartbeat:
    """The lease of one registered executor, and of the claim it works on."""

    def __init__(
        self,
        jobs: Jobs,
        executor_id: str,
        policy: Policy,
        *,
        report: Callable[[], Mapping[str, Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.jobs, self.executor_id, self.policy, self._report, self._clock = jobs, executor_id, policy, report, clock
        self.wake = Bell()  # there may be work: the idle device thread waits for it
        self._look_now = Bell()
        self.gone = False  # declared dead by others; this executor must register anew
        self.abort = False  # a second signal: stop at the next step
        self.lanes: Sequence[str] | None = None
        self.resident: Sequence[str] = ()
        self._hold: _Hold | None = None
        self._touched, self._limit, self._stage = clock(), policy.load_stall, "idle"
        self._beaten = clock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._look_now.ring()
        self._thread.join(timeout=10)

    def ring(self) -> None:
        """A NOTIFY came for this executor: new work, or a cancel."""
        self.wake.ring()
        self._look_now.ring()

    # -- called by the device thread ----------------------------------------------------------------------------------------------

    def hold(self, claim: Claim | None) -> None:
        self._hold = _Hold(claim) if claim else None
        self.touch("idle" if claim is None else "preparing", self.policy.load_stall)

    def touch(self, stage: str | None = None, limit: float | None = None) -> None:
        """Progress was made. A new stage brings its own stall limit, in seconds."""
        self._touched = self._clock()
        if stage is not None:
            self._stage = stage
        if limit is not None:
            self._limit = limit

    def check(self) -> None:
        """Between two steps: go on, or raise `Cancelled`, `LeaseLost` or `Drained`."""
        hold = self._hold
        if self.gone or (hold and hold.lost) or self._clock() - self._beaten > self.policy.lease:
            # The last: we could not reach the database for as long as a lease lasts, so others may have the job by now.
            raise LeaseLost(f"another claim may have job {hold.claim.job_id if hold else '?'}")
        if hold and hold.cancelled:
            raise Cancelled(hold.claim.job_id)
        if self.abort:
            raise Drained

    def stalled(self) -> bool:
        return self._hold is not None and self._clock() - self._touched > self._limit

    # -- the thread ---------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        due = self._clock()
        while not self._stop.is_set():
            try:
                self._look()
                if self._clock() >= due and not self.gone:
                    due = self._clock() + self.policy.heartbeat
                    self._beat()
                self.jobs.reap()
            except ExecutorGone:
                self.gone = True
            except Exception as error:  # noqa: BLE001  (the next round comes, and `check` counts how long ago the last good one was)
                log.warning("No heartbeat this time: %s: %s", type(error).__name__, error)
                if isinstance(error, DatabaseAway | Ambiguous):
                    self.jobs.db.bring_back()  # the device thread may be long at work before it finds out
            self._look_now.wait(self.policy.control_poll * random.uniform(0.7, 1.0))
            self._look_now.clear()

    def _look(self) -> None:
        hold = self._hold
        if hold is None:
            return
        held = self.jobs.held(self.executor_id).get(hold.claim.job_id)
        if held is None or held.claim_no != hold.claim.claim_no:
            hold.lost = True
        elif held.cancel_requested:
            hold.cancelled = True

    def _beat(self) -> None:
        if self.stalled():
            log.error("No progress in stage %s for %.0f s: the lease is not renewed.", self._stage, self._clock() - self._touched)
            return
        sent = self._clock()  # not when the answer came: the database counts the lease from before that
        self.jobs.heartbeat(self.executor_id, resident=self.resident, lanes=self.lanes, info=self._report())
        self._beaten = sent
