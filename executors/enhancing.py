"""The enhancement step of a job: by the enhancer process where there is one, while the device works for others; else on the device.

A job's prompt is enhanced once: the result of an earlier attempt is reused. Failures are handled as the job says, the same way in both
places (SPEC §2).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from executors.errors import Cancelled, EnhancementFailed, EnhancerAway, ExecutorError, LeaseLost, Left
from executors.heartbeat import Drained
from executors.texts import read
from ourvidz.safety.texts import distinct

if TYPE_CHECKING:
    from executors.enhance import Enhanced
    from executors.room import Run


def style_of(run: Run) -> str:
    """Return the name of the table of `data/enhance.toml`."""
    return "wan" if run.claim.kind.video else "wan_image"


def apart(run: Run) -> Run:
    """Enhance in the job's own thread, by the enhancer process. Leaves it to the device if no enhancer answers, or if it goes away and
    this executor has the model itself."""
    claim, remote, policy = run.claim, run.room.enhancer, run.room.policy
    if not claim.kind.enhance or not run.todo:
        return run
    if run.kept is not None:
        return replace(run, prompt=run.kept.text, worded=True)
    if remote is None or not (remote.only or remote.there()):
        return run
    run.enter("enhancing")
    run.jobs.advance(claim, "enhancement_started", on_device=False)

    def each_look() -> None:
        run.hold.watch.touch()
        run.hold.check()

    def ask() -> Enhanced:
        return remote.enhance(run.prompt, style_of(run), deadline_s=policy.enhance_limit, should_stop=each_look)

    may_stay = not remote.only and run.room.shelf.can_enhance
    return worded(replace(run, enhancing=True), ask, leave_to_device=EnhancerAway if may_stay else ())


def worded(run: Run, ask: Callable[[], Enhanced], leave_to_device: type[Exception] | tuple[()] = ()) -> Run:
    """Return the run with its final prompt: the enhanced one, recorded, or the one as written, with the event `enhancement_skipped`."""
    claim, started = run.claim, time.monotonic()
    try:
        done = ask()
        text = read("enhanced", done.text)
    except (Cancelled, LeaseLost, Drained, Left):
        raise
    except leave_to_device as error:
        run.show("enhancing", note=f"{error}; this executor does it itself")
        return run
    except Exception as error:
        # On any error (out of memory, a tokenizer bug) the prompt as written is used, unless the job says otherwise.
        reason = error.error_class if isinstance(error, ExecutorError) else "unexpected"
        reason = error.reason if isinstance(error, EnhancementFailed) else reason
        if claim.settings.on_enhance_failure == "fail":
            raise EnhancementFailed(f"the prompt could not be enhanced: {error}") from error
        run.jobs.advance(claim, "enhancement_skipped", reason=reason, seconds=round(time.monotonic() - started, 3))
        run.show("enhancing", note=f"going on with the prompt as written: {error}")
        return replace(run, worded=True)
    run.screen(text)
    if done.note:
        run.show("enhancing", note=done.note)
    run.jobs.enhanced(claim, text.text, seconds=done.seconds, tokens=done.tokens)
    return replace(run, prompt=text.text, texts=distinct((*run.texts, text)), worded=True)
