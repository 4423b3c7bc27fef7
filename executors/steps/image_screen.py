"""The image screen steps of a job: each reference before any model sees it, each output before anything of the job is published.

Runs in the job's own thread, beside the device. The screen gets the picture itself, never a smaller version.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from executors import media
from executors.context import JobRun
from executors.errors import ExecutorError, Refused
from executors.models.base import Clip, DeviceOutput, Output
from ourvidz.lifecycle import Claim
from ourvidz.safety.images import Sight
from ourvidz.storage.base import ObjectMissing

EVERY = 16  # frames between two that are screened: one second of a clip


def references(run: JobRun) -> JobRun:
    """Screen the references. Raises `Refused`, `ScreenUnavailable`. A refused reference refuses the job: no fallback."""
    given = {slot: picture for slot, picture in vars(run.references).items() if picture is not None}
    _look(run, ((Sight(run.claim.job_id, run.claim.job_type, "reference", slot=slot), picture) for slot, picture in given.items()))
    return run


def output(run: JobRun, made: DeviceOutput) -> str | None:
    """Screen an output before it is recorded; return the version of the rules that allowed it, None without a screen. Raises as above."""
    count = len(made.output.frames) if isinstance(made.output, Clip) else None
    return _look(run, zip(_sights(run.claim, made.index, count), sampled_pictures(made.output), strict=True))


def earlier_outputs(run: JobRun) -> JobRun:
    """Screen again what earlier claims made, in the spool or already uploaded: rules may have changed since, and a job is published whole
    or not at all. Raises as above."""
    if run.context.image_screen is None:
        return run
    claim = run.claim
    for a in run.jobs.artifacts(claim.job_id):
        if a["kind"] == "thumbnail" or a["claim_no"] == claim.claim_no or (data := _bytes(run, a)) is None:
            continue
        if a["kind"] == "image":
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                _look(run, zip(_sights(claim, a["index"], None), [picture], strict=True))
        else:
            frames = media.frames_at(io.BytesIO(data), sampled(a["frames"]))
            _look(run, zip(_sights(claim, a["index"], a["frames"]), frames, strict=True))
    return run


def sampled(frames: int) -> list[int]:
    """Return the frames to screen: the first, the middle, the last, and every sixteenth."""
    return sorted({0, frames // 2, frames - 1, *range(0, frames, EVERY)})


def sampled_pictures(output: Output) -> list[Image.Image]:
    """Return the pictures of an output to screen: the picture, or the sampled frames of a clip."""
    return [output.frames[n] for n in sampled(len(output.frames))] if isinstance(output, Clip) else [output.image]


def _sights(claim: Claim, index: int, frames: int | None) -> Iterator[Sight]:
    for frame in [None] if frames is None else sampled(frames):
        yield Sight(claim.job_id, claim.job_type, "output", index=index, frame=frame)


def _look(run: JobRun, pictures: Iterable[tuple[Sight, Image.Image]]) -> str | None:
    if (screen := run.context.image_screen) is None:
        return None
    version, left = None, iter(pictures)
    while several := list(islice(left, screen.at_once)):
        run.hold.watch.touch("screening", run.context.policy.load_stall)
        run.hold.check()
        encoded = [_png(picture) for _, picture in several]
        verdicts = screen.check_many(encoded, [sight for sight, _ in several])
        for (sight, _), data, verdict in zip(several, encoded, verdicts, strict=True):
            if not verdict.allowed:
                raise Refused(verdict, sight.kind, sight.name, hashlib.sha256(data).hexdigest())
            version = verdict.policy_version
    return version


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.convert("RGB").save(out, "PNG", compress_level=1)
    return out.getvalue()


def _bytes(run: JobRun, artifact: dict[str, Any]) -> bytes | None:
    """Return the artifact's bytes; None if the spool has lost it, which the upload will report."""
    if artifact["uploaded_at"] is None:
        path: Path | None = run.context.spool.find(artifact)
        return None if path is None else path.read_bytes()
    try:
        return run.context.store.read(artifact["bucket"], artifact["path"])
    except ObjectMissing as error:
        raise ExecutorError(f"{artifact['kind']} {artifact['index']} is no longer in its bucket, so it cannot be screened again") from error
