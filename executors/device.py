"""The device stages of a job: enhance, load, denoise, decode. One thread runs them for all jobs, one job after the other.

A job's own thread queues the prepared job here, and takes each output as soon as it is decoded, to encode and upload it while the next is
made. (Only one thread may touch models: loading is not safe while weights are moved.)
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from executors.context import JobRun
from executors.errors import BadOutput, ModelFileError
from executors.heartbeat import Heartbeat
from executors.models.base import DeviceOutput, Family, OnStep, Work
from executors.places import OnDevice
from executors.shared_pass import Pass, begin
from executors.shelf import Shelf
from executors.steps.generate import work_of
from executors.steps.references import still_attested
from executors.turn import Turn, forget_frames
from state.kinds import DEVICE, fits
from state.policy import Policy

log = logging.getLogger("ourvidz.device")

SOON = 5.0  # seconds that claiming a job and fetching its references may take


class Device:
    def __init__(
        self, shelf: Shelf, policy: Policy, beat: Heartbeat, tell: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`tell`: called when the residency may have changed."""
        self._shelf, self._policy, self.heartbeat, self._watch, self._tell, self._clock = shelf, policy, beat, beat.device, tell, clock
        self._turns: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        self._ahead: deque[Turn] = deque()  # device thread only: turns taken from the queue but not started
        self._free_at = 0.0
        self.closing = False  # nothing more is claimed: once the present jobs have ended, no turn will come

    # -- the other threads

    def generate(self, run: JobRun) -> Generator[DeviceOutput, None, None]:
        """Queue a prepared job; yield each of its outputs as soon as it is decoded."""
        return self.offer(run).outputs()

    def offer(self, run: JobRun) -> Turn:
        turn = Turn(run)
        self._turns.put(turn)
        return turn

    def ring(self) -> None:
        """Interrupt the wait for a turn, because a job ended."""
        self._turns.put(None)

    def close(self) -> None:
        self.closing = True
        self.ring()

    @property
    def free_soon(self) -> bool:
        """Whether the device will be free within `SOON` seconds, estimated from the running job's pace (unknown before its first step)."""
        return self._clock() + SOON >= self._free_at

    @property
    def asked_for(self) -> bool:
        """Whether a prepared job waits for its turn."""
        return not self._turns.empty()

    # -- the device thread

    def warm(self, lane: str) -> None:
        """Load a lane's models before a job asks for them. Errors are only logged: the job that needs them will meet them again."""
        started = self._clock()
        self._watch.touch("warming up", self._policy.load_stall)
        log.info("Loading what lane %s needs.", lane)
        try:
            self._family(lane)
            log.info("Lane %s is warm after %.1f s.", lane, self._clock() - started)
        except Exception as error:  # noqa: BLE001  (its first job will meet the same error, and pass it to policy)
            log.warning("Lane %s could not be warmed up: %s: %s", lane, type(error).__name__, error)
        finally:
            self._tell()
            self._watch.rest()

    def next(self, timeout: float) -> Turn | None:
        """Return the next prepared job; None after `timeout` seconds, or when interrupted by `ring`."""
        if self._ahead:
            return self._ahead.popleft()
        try:
            return self._turns.get(timeout=timeout)
        except queue.Empty:
            return None

    def meanwhile(self, do: Callable[[], object]) -> None:
        """Run something other than a job while no job is prepared. It reports no progress, so it gets the load stall limit as a whole."""
        self._watch.touch("enhancing", self._policy.load_stall)
        try:
            do()
        finally:
            self._tell()
            self._watch.rest()

    def perform(self, turn: Turn) -> None:
        """Run one job's turn. Exceptions go to the job's thread, which passes them to policy."""
        run, error = turn.run, None
        turn.taken, self._free_at = True, math.inf
        try:
            turn.check()
            run.hold.begun = True
            if run.claim.lane not in self._shelf.lanes:
                raise ModelFileError(f"lane {run.claim.lane} was closed here after the job was claimed")
            run = replace(run, place=OnDevice(self._shelf, self._watch, self._policy, turn.check, run.show), deferred=())
            for step in turn.run.deferred:
                run = step(run)
            run.check_screened()
            self._generate(turn, run)
        except BaseException as caught:
            error = caught
            forget_frames(caught)
            if not isinstance(caught, Exception):
                raise  # Ctrl-C without a signal handler: the worker leaves
        finally:
            self._tell()
            self._free_at = 0.0
            self._watch.rest()
            turn.end(error)

    def _enter(self, turn: Turn, stage: str, limit: float) -> None:
        """Start a stage, which may go `limit` seconds without progress."""
        self._watch.touch(stage, limit)
        turn.check()
        turn.run.show(stage)

    def _generate(self, turn: Turn, run: JobRun) -> None:
        """Make the outputs that are neither uploaded nor in this host's spool. A bad output is repeated once in higher precision."""
        claim = run.claim
        self._enter(turn, "loading", self._policy.load_stall)
        family = self._family(claim.lane)
        about = family.describe()
        device = about.get("device", "cpu")
        started = {"profile": self._shelf.profile.name, "device": device if fits(device, DEVICE) else "cuda", "sha256": run.sha256}
        still_attested(run)
        if others := self._others(turn, run, family):
            self._together([turn, *others], family, about, started)
            return
        # Only now that the device runs it: when an executor dies, its newest such event tells which job to blame (expire_claim.sql).
        run.jobs.advance(claim, "generation_started", **started)
        self._enter(turn, "generating", self._policy.step_stall)
        self.make(turn, run, family, about)

    def make(self, turn: Turn, run: JobRun, family: Family, about: Mapping[str, Any], bad: BadOutput | None = None) -> None:
        """Make one job's outputs alone. After a bad output (`bad`: found in a shared pass), repeat once in higher precision."""
        try:
            if bad is not None:
                raise bad
            left = run.todo[turn.given :]  # a shared pass may have made some before it failed
            self._make(turn, family, work_of(run, left), left, about)
        except BadOutput as error:
            self._watch.touch("generating", self._policy.load_stall)  # next is a database write, which may wait in an outage
            run.jobs.advance(run.claim, "generation_repeated", reason=error.error_class)
            run.show("generating", note=f"{error}; once more in higher precision")
            again = run.todo[turn.given :]
            self._make(turn, family, replace(work_of(run, again), precise=True), again, about)

    def _others(self, turn: Turn, run: JobRun, family: Family) -> list[Turn]:
        """Take prepared jobs from the queue that may share a pass with this one, in order; the rest keep their places.

        Only at a first claim: a crash in a pass is counted against all jobs that shared it; afterwards each runs alone, so that the one
        that kills executors is quarantined without the others.
        """
        free = self._shelf.at_once - len(run.todo)
        key = self._key(run, family) if free > 0 else None
        if key is None:
            return []
        with contextlib.suppress(queue.Empty):
            while True:
                if (other := self._turns.get_nowait()) is not None:
                    self._ahead.append(other)
        found, rest = [], deque[Turn]()
        for other in self._ahead:
            mate = other.run
            if not other.left and len(mate.todo) <= free and self._key(mate, family) == key:
                found.append(other)
                free -= len(mate.todo)
            else:
                rest.append(other)
        self._ahead = rest
        return found

    @staticmethod
    def _key(run: JobRun, family: Family) -> Hashable | None:
        alone = run.claim.claim_no > 1 or run.claim.kind.enhance or run.claim.kind.family != family.name
        first = run.deferred or run.unjudged  # steps to be done before, in its own turn
        return None if alone or first else family.together(work_of(run, run.todo))

    def _together(self, turns: list[Turn], family: Family, about: Mapping[str, Any], started: Mapping[str, Any]) -> None:
        error = None
        try:
            live = begin(turns, started)
            self._watch.touch("generating", self._policy.step_stall)
            Pass(self.make, live, family, about).make(self._pace())
        except BaseException as caught:
            error = caught
            raise
        finally:
            for turn in turns:
                turn.end(error)  # no effect on turns that have already ended

    def _family(self, lane: str) -> Family:
        try:
            return self._shelf.family(lane)
        except ModelFileError as error:
            # The executor's fault, not the job's: the job goes to an executor that has the model; this one serves its other lanes.
            moved = self._shelf.spoiled(lane)
            log.error("Lane %s is closed here: %s%s", lane, error, f" (in quarantine: {', '.join(map(str, moved))})" if moved else "")
            raise

    def _make(self, turn: Turn, family: Family, work: Work, indices: Sequence[int], about: Mapping[str, Any]) -> None:
        since, pace = self._clock(), self._pace()

        def on_step(done: int, total: int) -> None:
            pace(done, total)
            turn.run.show("generating", done, total)
            turn.check()  # raises through the pipeline, so that a cancelled job is not decoded

        # Closed at once in every case: closing resets the family's pipeline, which must not happen during the next job.
        with closing(family.generate(work, on_step)) as outputs:
            for index, output in zip(indices, outputs, strict=True):
                turn.give(DeviceOutput(index, output, about, self._clock() - since))
                since = self._clock()
                self._watch.touch()

    def _pace(self) -> OnStep:
        """Return a step callback that records progress and estimates when the device will be free."""
        begun = self._clock()

        def on_step(done: int, total: int) -> None:
            now = self._clock()
            self._watch.touch("generating", self._policy.step_stall)
            was_soon = self.free_soon
            if done:  # on a GPU the first report (0 steps done) comes before the first step has ended
                self._free_at = now + (now - begun) / done * (total - done)
            if self.free_soon and not was_soon:
                self._tell()  # the job's models are on the device by now: the next claim prefers lanes that are resident
                self.heartbeat.wake.ring()

        return on_step
