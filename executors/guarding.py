"""The guard's places in a job's line: before any model sees its prompt, and again when the prompt has changed. Beside the device by the
enhancer's own process where one answers; else on the device. With tiny models there is nothing to guard, and only the lexical screen runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from executors.errors import Cancelled, EnhancerAway, LeaseLost, Left
from executors.heartbeat import Drained
from executors.language import unknown
from executors.room import Run
from executors.texts import for_guard
from ourvidz.safety import texts
from ourvidz.safety.rules import languages
from ourvidz.safety.screen import ScreenUnavailable, Verdict

LIMIT = 30.0  # seconds for one answer of the enhancer's process, its wait behind others included


def language(run: Run) -> Run:
    """Raises `Refused` for a prompt in a language that the lexical screen has no table for, where no guard reads it (docs/decisions/0037).
    What a tiny enhancer writes is not asked: it is about coloured shapes, or noise.
    """
    for text in run.texts:
        if text.field == "prompt" and not run.room.shelf.guarded and unknown(text.text, languages()):
            version = texts.check(run.jobs.screen, text).policy_version
            run.obey(Verdict(False, version, "unreadable", "und/language"), text)
    return run


def apart(run: Run) -> Run:
    """In the job's own thread. Leaves it to the device where no enhancer answers, unless this executor must not do without one."""
    remote = run.room.enhancer
    if not run.todo or not run.unjudged or remote is None or not (remote.only or (run.room.shelf.guarded and remote.there())):
        return run

    def each_look() -> None:
        run.hold.watch.touch()
        run.hold.check()

    try:
        return judged(run, lambda text, negative: remote.judge(text, negative=negative, deadline_s=LIMIT, should_stop=each_look))
    except EnhancerAway as error:
        if remote.only:
            raise ScreenUnavailable(f"the guard could not answer ({error}); the job does not run") from error
        return run


Judge = Callable[[str, bool], Verdict]
"""Of a text, and whether it is a negative prompt."""


def judged(run: Run, judge: Judge) -> Run:
    """The run whose texts may be given to a model. Raises `Refused`, and `ScreenUnavailable` whatever went wrong: it fails closed."""
    for these, reading in for_guard(left := run.unjudged):
        try:
            verdict = judge(reading, these[0].negative)
        except (Cancelled, LeaseLost, Drained, Left, EnhancerAway, ScreenUnavailable):
            raise
        except Exception as error:  # noqa: BLE001  (not chained, and not quoted: what a tokenizer complains of may be the prompt)
            raise ScreenUnavailable(f"the guard could not answer ({type(error).__name__}); the job does not run") from None
        run.obey(verdict, these[0])
    return replace(run, judged=run.judged | set(left))
