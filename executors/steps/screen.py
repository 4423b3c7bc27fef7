"""Screen every text of a job lexically, before any model sees it."""

from __future__ import annotations

from dataclasses import replace

from executors.context import JobRun
from executors.language import unknown
from executors.texts import of_claim
from ourvidz.safety import texts as safety_texts
from ourvidz.safety.rules import languages
from ourvidz.safety.screen import Verdict


def texts(run: JobRun) -> JobRun:
    """Screen every text of the job, whichever way it was submitted. Raises `Refused`, `TextUnreadable`, `ScreenUnavailable`."""
    run.enter("preparing")
    prompt, kept, said, every = of_claim(run.claim, run.jobs.job_texts(run.claim))
    for text in every:
        run.screen(text)
    return replace(run, prompt=prompt.text, kept=kept, said=said, texts=every)


def language(run: JobRun) -> JobRun:
    """Without a guard, raise `Refused` for a prompt in a language that the lexical screen has no table for (docs/decisions/0037).

    A tiny enhancer's text is not checked: it is about coloured shapes, or noise.
    """
    for text in run.texts:
        if text.field == "prompt" and not run.context.shelf.guarded and unknown(text.text, languages()):
            version = safety_texts.check(run.jobs.screen, text).policy_version
            run.obey(Verdict(False, version, "unreadable", "und/language"), text)
    return run
