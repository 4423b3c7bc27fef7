"""The generation step: list the outputs still to be made, wait for the device, and record each output as soon as it is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from executors.context import JobRun
from executors.models.base import Work
from executors.prompts import build_negative
from executors.spool import Spool
from executors.steps import image_screen
from executors.steps.encode import record
from ourvidz.lifecycle import Claim


def prepare(run: JobRun) -> JobRun:
    """Build the negative prompt, and list the outputs still to be made."""
    claim = run.claim
    negative = build_negative(claim.kind.family, "video" if claim.kind.video else "image", run.said.text if run.said else None)
    if negative.cut:  # the terms are the user's, so they are not quoted
        run.show(
            "preparing", note=f"the negative prompt is longer than the model reads at once: {negative.cut} of its terms are left out or cut"
        )
    return replace(run, negative=negative.text, todo=missing(run.context.spool, claim, claim.artifacts))


def outputs(run: JobRun) -> JobRun:
    """Generate. One output is screened, encoded and recorded while the device makes the next."""
    if not run.todo:
        return run
    run.hold.watch.rest()  # the device has its own watch
    with closing(run.context.generate(run)) as made:
        for output in made:
            allowed = image_screen.output(run, output)
            run.hold.watch.touch("encoding", run.context.policy.load_stall)
            record(run, output, allowed)
            run.hold.watch.rest()
    return run


def missing(spool: Spool, claim: Claim, artifacts: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the indices of the job's outputs that are neither uploaded nor in the spool."""
    have = {(a["kind"], a["index"]): a for a in artifacts}
    kind = "video" if claim.kind.video else "image"

    def there(index: int) -> bool:
        parts = [have.get((k, index)) for k in (kind, "thumbnail")]
        return all(a is not None and (a["uploaded_at"] is not None or spool.find(a) is not None) for a in parts)

    return [index for index in range(claim.settings.images) if not there(index)]


def work_of(run: JobRun, indices: Sequence[int]) -> Work:
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
