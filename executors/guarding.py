"""The guard steps of a job: before any model sees its prompt, and again when the prompt has changed.

The enhancer process judges where one answers; else the device does. With tiny models there is no guard, only the lexical screen.
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

LIMIT = 30.0  # seconds for one answer of the enhancer process, including its wait in the queue


def language(run: Run) -> Run:
    """Without a guard, raise `Refused` for a prompt in a language that the lexical screen has no table for (docs/decisions/0037).

    A tiny enhancer's text is not checked: it is about coloured shapes, or noise.
    """
    for text in run.texts:
        if text.field == "prompt" and not run.room.shelf.guarded and unknown(text.text, languages()):
            version = texts.check(run.jobs.screen, text).policy_version
            run.obey(Verdict(False, version, "unreadable", "und/language"), text)
    return run


def apart(run: Run) -> Run:
    """Judge in the job's own thread, by the enhancer process. Leaves it to the device if no enhancer answers, unless one is required."""
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
"""Called with a text, and whether it is a negative prompt."""


def judged(run: Run, judge: Judge) -> Run:
    """Judge all unjudged texts; return the run with them marked. Fails closed: raises `Refused`, and `ScreenUnavailable` on any error."""
    for these, reading in for_guard(left := run.unjudged):
        try:
            verdict = judge(reading, these[0].negative)
        except (Cancelled, LeaseLost, Drained, Left, EnhancerAway, ScreenUnavailable):
            raise
        except Exception as error:  # noqa: BLE001  (not chained, and not quoted: what a tokenizer complains of may be the prompt)
            raise ScreenUnavailable(f"the guard could not answer ({type(error).__name__}); the job does not run") from None
        run.obey(verdict, these[0])
    return replace(run, judged=run.judged | set(left))
