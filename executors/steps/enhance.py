"""The enhancement step: the language model rewrites the prompt.

A job's prompt is enhanced once: the result of an earlier attempt is reused. The job's `on_enhance_failure` decides what follows a failure.
"""

from __future__ import annotations

import time
from dataclasses import replace

from executors.context import JobRun
from executors.errors import Cancelled, EnhancementFailed, EnhancerAway, ExecutorError, LeaseLost, Left
from executors.heartbeat import Drained
from executors.texts import read
from ourvidz.safety.texts import distinct


def prompt(run: JobRun) -> JobRun:
    """Return the run with its final prompt: the enhanced one, recorded, or the one as written, with the event `enhancement_skipped`."""
    claim, place = run.claim, run.place
    if not claim.kind.enhance or not run.todo or run.prompt_final:
        return run
    if run.kept is not None:
        return replace(run, prompt=run.kept.text, prompt_final=True)
    if run.deferred or not place.ready:
        return run.defer(prompt)
    if not run.enhancing:
        run.jobs.advance(claim, "enhancement_started", **({} if place.on_device else {"on_device": False}))
        run = replace(run, enhancing=True)
    place.enter("enhancing")
    started = time.monotonic()
    try:
        done = place.enhance(run.prompt, "wan" if claim.kind.video else "wan_image")
        text = read("enhanced", done.text)
    except (Cancelled, LeaseLost, Drained, Left):
        raise
    except Exception as error:
        if isinstance(error, EnhancerAway) and not place.required and run.context.shelf.can_enhance:
            run.show("enhancing", note=f"{error}; this executor does it itself")
            return run.defer(prompt)
        # On any error (out of memory, a tokenizer bug) the prompt as written is used, unless the job says otherwise.
        reason = error.error_class if isinstance(error, ExecutorError) else "unexpected"
        reason = error.reason if isinstance(error, EnhancementFailed) else reason
        if claim.settings.on_enhance_failure == "fail":
            raise EnhancementFailed(f"the prompt could not be enhanced: {error}") from error
        run.jobs.advance(claim, "enhancement_skipped", reason=reason, seconds=round(time.monotonic() - started, 3))
        run.show("enhancing", note=f"going on with the prompt as written: {error}")
        return replace(run, prompt_final=True)
    run.screen(text)
    if done.note:
        run.show("enhancing", note=done.note)
    run.jobs.enhanced(claim, text.text, seconds=done.seconds, tokens=done.tokens)
    return replace(run, prompt=text.text, texts=distinct((*run.texts, text)), prompt_final=True)
