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
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from executors.enhancing import style_of, worded
from executors.errors import BadOutput, EnhancementFailed, Left, ModelFileError
from executors.guarding import judged
from executors.heartbeat import Heartbeat
from executors.models.base import Family, OnStep, Output, Work
from executors.referring import still_attested
from executors.room import Room, Run
from state.kinds import DEVICE, fits

if TYPE_CHECKING:
    from executors.enhance import Enhanced

log = logging.getLogger("ourvidz.device")

SOON = 5.0  # seconds that claiming a job and fetching its references may take
LOOK = 0.05  # seconds between two checks whether a job that waits for the device is still wanted


@dataclass(frozen=True)
class Made:
    """One output: its `index` in the job, facts `about` the model, and the device time in `seconds`."""

    index: int
    output: Output
    about: Mapping[str, Any]
    seconds: float


class Turn:
    """A prepared job's turn on the device, and the queue of its outputs."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.taken = False  # by the device thread
        self.left = False  # the job's thread no longer wants the outputs
        self.given = 0
        self._made: queue.SimpleQueue[Made | BaseException | None] = queue.SimpleQueue()

    # -- the job's thread

    def outputs(self) -> Iterator[Made]:
        """Yield each output as soon as it is decoded. Raises the device's exception, after the outputs made before it."""
        try:
            while True:
                try:
                    made = self._made.get(timeout=LOOK)
                except queue.Empty:
                    if not self.taken:
                        self.run.hold.check()  # a cancel or a drain need not wait for the device
                    continue
                if made is None:
                    return
                if isinstance(made, BaseException):
                    raise made
                yield made
        finally:
            self.left = True

    # -- the device thread

    def check(self) -> None:
        self.run.hold.check()
        if self.left:
            raise Left

    def give(self, made: Made) -> None:
        self._made.put(made)
        self.given += 1

    def end(self, error: BaseException | None) -> None:
        self._made.put(error)


class Device:
    def __init__(self, beat: Heartbeat, tell: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`tell`: called when the residency may have changed."""
        self._beat, self._watch, self._tell, self._clock = beat, beat.device, tell, clock
        self._turns: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        self._ahead: deque[Turn] = deque()  # device thread only: turns taken from the queue but not started
        self._free_at = 0.0
        self.closing = False  # nothing more is claimed: once the present jobs have ended, no turn will come

    # -- the other threads

    def offer(self, run: Run) -> Turn:
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

    def warm(self, room: Room, lane: str) -> None:
        """Load a lane's models before a job asks for them. Errors are only logged: the job that needs them will meet them again."""
        started = self._clock()
        self._watch.touch("warming up", room.policy.load_stall)
        log.info("Loading what lane %s needs.", lane)
        try:
            self._family(room, lane)
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

    def meanwhile(self, room: Room, do: Callable[[], object]) -> None:
        """Run something other than a job while no job is prepared. It reports no progress, so it gets the load stall limit as a whole."""
        self._watch.touch("enhancing", room.policy.load_stall)
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
            if run.claim.lane not in run.room.shelf.lanes:
                raise ModelFileError(f"lane {run.claim.lane} was closed here after the job was claimed")
            run = self._guarded(turn, self._enhance(turn, self._guarded(turn, run)))
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

    def _guarded(self, turn: Turn, run: Run) -> Run:
        """Judge, by this executor's own model, the texts that the enhancer process has not judged."""
        shelf = run.room.shelf
        if not run.unjudged:
            return run
        self._enter(turn, "screening", run.room.policy.load_stall)
        return judged(run, lambda text, negative: shelf.guard().check(text, negative=negative))

    def _enhance(self, turn: Turn, run: Run) -> Run:
        """Enhance the prompt, by this executor's own model, unless that was done before."""
        room = run.room
        if not run.claim.kind.enhance or run.worded:
            return run
        if not run.enhancing:
            run.jobs.advance(run.claim, "enhancement_started")
        self._enter(turn, "enhancing", room.policy.load_stall)

        def each_token() -> None:
            self._watch.touch("enhancing", room.policy.step_stall)
            turn.check()

        def ask() -> Enhanced:
            if not room.shelf.can_enhance:
                raise EnhancementFailed("this executor has no enhancement model")
            try:
                return room.shelf.enhancer().enhance(
                    run.prompt, style_of(run), deadline_s=room.policy.enhance_limit, should_stop=each_token
                )
            finally:
                self._watch.touch("enhancing", room.policy.load_stall)  # next is a database write, which may wait in an outage

        return worded(run, ask)

    def _generate(self, turn: Turn, run: Run) -> None:
        """Make the outputs that are neither uploaded nor in this host's spool. A bad output is repeated once in higher precision."""
        claim, room = run.claim, run.room
        self._enter(turn, "loading", room.policy.load_stall)
        family = self._family(room, claim.lane)
        about = family.describe()
        device = about.get("device", "cpu")
        started = {"profile": room.shelf.profile.name, "device": device if fits(device, DEVICE) else "cuda", "sha256": run.sha256}
        still_attested(run)
        if others := self._others(turn, run, family):
            self._together([turn, *others], family, about, started)
            return
        # Only now that the device runs it: when an executor dies, its newest such event tells which job to blame (lapse.sql).
        run.jobs.advance(claim, "generation_started", **started)
        self._enter(turn, "generating", room.policy.step_stall)
        self.make(turn, run, family, about)

    def make(self, turn: Turn, run: Run, family: Family, about: Mapping[str, Any], bad: BadOutput | None = None) -> None:
        """Make one job's outputs alone. After a bad output (`bad`: found in a shared pass), repeat once in higher precision."""
        try:
            if bad is not None:
                raise bad
            left = run.todo[turn.given :]  # a shared pass may have made some before it failed
            self._make(turn, family, work_of(run, left), left, about)
        except BadOutput as error:
            self._watch.touch("generating", run.room.policy.load_stall)  # as above
            run.jobs.advance(run.claim, "generation_repeated", reason=error.error_class)
            run.show("generating", note=f"{error}; once more in higher precision")
            again = run.todo[turn.given :]
            self._make(turn, family, replace(work_of(run, again), precise=True), again, about)

    def _others(self, turn: Turn, run: Run, family: Family) -> list[Turn]:
        """Take prepared jobs from the queue that may share a pass with this one, in order; the rest keep their places.

        Only at a first claim: a crash in a pass is counted against all jobs that shared it; afterwards each runs alone, so that the one
        that kills executors is quarantined without the others.
        """
        room = run.room.shelf.at_once - len(run.todo)
        key = self._key(run, family) if room > 0 else None
        if key is None:
            return []
        with contextlib.suppress(queue.Empty):
            while True:
                if (other := self._turns.get_nowait()) is not None:
                    self._ahead.append(other)
        found, rest = [], deque[Turn]()
        for other in self._ahead:
            mate = other.run
            if not other.left and len(mate.todo) <= room and self._key(mate, family) == key:
                found.append(other)
                room -= len(mate.todo)
            else:
                rest.append(other)
        self._ahead = rest
        return found

    @staticmethod
    def _key(run: Run, family: Family) -> Hashable | None:
        alone = run.claim.claim_no > 1 or run.claim.kind.enhance or run.claim.kind.family != family.name
        if run.unjudged:
            return None  # must be judged first, in its own turn
        return None if alone else family.together(work_of(run, run.todo))

    def _together(self, turns: list[Turn], family: Family, about: Mapping[str, Any], started: Mapping[str, Any]) -> None:
        from executors.together import Pass, begin  # here, because it imports this module

        policy, error = turns[0].run.room.policy, None
        try:
            live = begin(turns, started)
            self._watch.touch("generating", policy.step_stall)
            Pass(self, live, family, about).make(self._pace(turns[0].run.room))
        except BaseException as caught:
            error = caught
            raise
        finally:
            for turn in turns:
                turn.end(error)  # no effect on turns that have already ended

    def _family(self, room: Room, lane: str) -> Family:
        try:
            return room.shelf.family(lane)
        except ModelFileError as error:
            # The executor's fault, not the job's: the job goes to an executor that has the model; this one serves its other lanes.
            moved = room.shelf.spoiled(lane)
            log.error("Lane %s is closed here: %s%s", lane, error, f" (in quarantine: {', '.join(map(str, moved))})" if moved else "")
            raise

    def _make(self, turn: Turn, family: Family, work: Work, indices: Sequence[int], about: Mapping[str, Any]) -> None:
        since, pace = self._clock(), self._pace(turn.run.room)

        def on_step(done: int, total: int) -> None:
            pace(done, total)
            turn.run.show("generating", done, total)
            turn.check()  # raises through the pipeline, so that a cancelled job is not decoded

        # Closed at once in every case: closing resets the family's pipeline, which must not happen during the next job.
        with closing(family.generate(work, on_step)) as outputs:
            for index, output in zip(indices, outputs, strict=True):
                turn.give(Made(index, output, about, self._clock() - since))
                since = self._clock()
                self._watch.touch()

    def _pace(self, room: Room) -> OnStep:
        """Return a step callback that records progress and estimates when the device will be free."""
        begun = self._clock()

        def on_step(done: int, total: int) -> None:
            now = self._clock()
            self._watch.touch("generating", room.policy.step_stall)
            was_soon = self.free_soon
            if done:  # on a GPU the first report (0 steps done) comes before the first step has ended
                self._free_at = now + (now - begun) / done * (total - done)
            if self.free_soon and not was_soon:
                self._tell()  # the job's models are on the device by now: the next claim prefers lanes that are resident
                self._beat.wake.ring()

        return on_step


def forget_frames(error: BaseException | None) -> None:
    """Clear the local variables in an error's traceback. Its frames hold tensors, which would stay on the device while the error is in
    another thread and the next job runs. The line numbers stay."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def work_of(run: Run, indices: Sequence[int]) -> Work:
    """Build the family's `Work` for these outputs of the job."""
    claim, s = run.claim, run.claim.settings
    return Work(
        job_id=claim.job_id,
        job_type=claim.job_type,
        prompt=run.prompt,
        negative_prompt=run.negative,
        width=s.width,
        height=s.height,
        steps=s.steps,
        guidance=s.guidance,
        seeds=tuple(s.seeds[i] for i in indices),
        frames=s.frames,
        fps=s.fps or 16,
        shift=s.shift or 5.0,
        sampler=s.sampler or "unipc",
        scheduler=s.scheduler,
        strength=s.strength,
        reference_type=s.reference_type if run.references.style else None,  # None if the job goes on without its picture
        reference_strength=s.reference_strength or 1.0,
        references=run.references,
    )
