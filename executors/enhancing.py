"""A job's prompt on its way to a description of the scene: beside the device, by the enhancer's own process where there is one; else on the
device. Once: an earlier attempt's is used again. What follows a failure is the same for both, and as the job says (SPEC §2).
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
    """The table of `data/enhance.toml`."""
    return "wan" if run.claim.kind.video else "wan_image"


def apart(run: Run) -> Run:
    """In the job's own thread, while the device works for others. Leaves it to the device where no enhancer answers, or where one that did
    goes away and this executor has the model itself."""
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
    """The run with the prompt that it will be made from: the enhanced one, recorded, or the one as written, and the event that says so."""
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
        # Whatever it was, out of memory or a bug in a tokenizer, the prompt as written will do, unless the job says otherwise.
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
