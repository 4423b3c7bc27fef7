"""The guard: a language model judges every text of a job before another model sees it, and again when the prompt has changed.

With tiny models there is no guard, only the lexical screen.
"""

from __future__ import annotations

from dataclasses import replace

from executors.context import JobRun
from executors.errors import Cancelled, EnhancerAway, LeaseLost, Left
from executors.heartbeat import Drained
from executors.texts import for_guard
from ourvidz.safety.screen import ScreenUnavailable


def judge(run: JobRun) -> JobRun:
    """Judge all texts not judged yet. Fails closed: raises `Refused`, and `ScreenUnavailable` on any error."""
    if not run.todo:
        return run
    if run.deferred or (run.unjudged and not run.place.ready):
        return run.defer(judge)
    unjudged = run.unjudged
    if unjudged and run.place.on_device:
        run.place.enter("screening")
    for these, reading in for_guard(unjudged):
        try:
            verdict = run.place.judge(reading, these[0].negative)
        except EnhancerAway as error:
            if run.place.required:
                raise ScreenUnavailable(f"the guard could not answer ({error}); the job does not run") from error
            return run.defer(judge)
        except (Cancelled, LeaseLost, Drained, Left, ScreenUnavailable):
            raise
        except Exception as error:  # noqa: BLE001  (not chained, and not quoted: a tokenizer's error may contain the prompt)
            raise ScreenUnavailable(f"the guard could not answer ({type(error).__name__}); the job does not run") from None
        run.obey(verdict, these[0])
    return replace(run, judged=run.judged | set(unjudged))
