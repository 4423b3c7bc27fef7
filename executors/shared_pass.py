"""Several jobs, also of different users, in one pass of a model: each keeps its own turn, events, seeds and cancel, and ends by itself.

They start in one commit, so their `generation_started` events have the same time, and a crash in the pass is not blamed on one of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from executors.context import JobRun
from executors.errors import BadOutput
from executors.models.base import DeviceOutput, Family, OnStep
from executors.steps.generate import work_of
from executors.steps.references import still_attested
from executors.turn import Turn, forget_frames
from state.errors import NotAgeVerified, StaleClaim, Suspended

log = logging.getLogger("ourvidz.device")


def begin(turns: Sequence[Turn], started: Mapping[str, Any]) -> list[Turn]:
    """Record the start of all these in one commit; return those that may continue. The first is on the device already."""
    live = [turns[0]]
    for turn in turns[1:]:
        turn.taken = True
        try:
            turn.check()
            still_attested(turn.run)
            turn.run.hold.begun = True
            live.append(turn)
        except Exception as error:  # noqa: BLE001  (cancelled or drained while it waited: ends this job only)
            turn.end(error)
    told = [{**started, "sha256": turn.run.sha256} for turn in live]
    moved = set(turns[0].run.jobs.advance_many([turn.run.claim for turn in live], "generation_started", told))
    for turn in live:
        if turn.run.claim.job_id not in moved:
            try:
                turn.run.jobs.advance(turn.run.claim, "generation_started", **started)
                moved.add(turn.run.claim.job_id)
            except (StaleClaim, NotAgeVerified, Suspended) as error:
                turn.end(error)
    return [turn for turn in live if turn.run.claim.job_id in moved]


Alone = Callable[[Turn, JobRun, Family, Mapping[str, Any], BadOutput | None], None]
"""Make one job's outputs alone; `BadOutput`: found in the shared pass."""


class Pass:
    """The turns of jobs that share a pass, all started. Each ends by itself."""

    def __init__(self, alone: Alone, turns: Sequence[Turn], family: Family, about: Mapping[str, Any]) -> None:
        self._make_alone, self.turns, self.family, self.about = alone, turns, family, about
        self._left = set(range(len(turns)))
        self._bad: dict[int, BadOutput] = {}

    def make(self, pace: OnStep) -> None:
        """Make all outputs of all jobs: in one pass if that works, else one job after another. `pace` is called after each step."""
        try:
            self._shared(pace)
        except Exception as error:  # noqa: BLE001  (out of memory, or a bug that one job triggers: made alone, only that job fails)
            log.warning("%s jobs in one pass failed, so each is made alone: %s: %s", len(self.turns), type(error).__name__, error)
        for n in sorted(self._left):
            self._alone(n)

    def _end(self, n: int, error: BaseException | None) -> None:
        self._left.discard(n)
        forget_frames(error)
        self.turns[n].end(error)

    def _shared(self, pace: OnStep) -> None:
        works = [work_of(turn.run, turn.run.todo) for turn in self.turns]
        since = time.monotonic()
        with closing(self.family.generate_together(works, [self._stepper(n, pace) for n in range(len(works))])) as outputs:
            for n, output in outputs:
                turn = self.turns[n]
                if isinstance(output, BadOutput):
                    self._bad[n] = output
                elif isinstance(output, Exception):
                    self._end(n, output)
                else:
                    turn.give(DeviceOutput(turn.run.todo[turn.given], output, self.about, time.monotonic() - since))
                    since = time.monotonic()
                    if turn.given == len(turn.run.todo):
                        self._end(n, None)  # its pictures are uploaded while those of the others are decoded

    def _stepper(self, n: int, pace: OnStep) -> OnStep:
        turn = self.turns[n]

        def on_step(done: int, total: int) -> None:
            pace(done, total)
            try:
                turn.check()
            except Exception as error:
                self._end(n, error)  # at once: the pass continues for the others, and this job's thread need not wait for its end
                raise
            turn.run.show("generating", done, total)

        return on_step

    def _alone(self, n: int) -> None:
        turn, error = self.turns[n], None
        try:
            turn.check()
            self._make_alone(turn, turn.run, self.family, self.about, self._bad.get(n))
        except Exception as caught:  # noqa: BLE001  (the job's own thread hands it to policy)
            error = caught
        self._end(n, error)
