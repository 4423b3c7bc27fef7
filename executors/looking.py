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
from executors.device import Made
from executors.errors import ExecutorError
from executors.models.base import Clip
from executors.room import Refused, Room, Run
from ourvidz.lifecycle import Claim
from ourvidz.safety.images import Sight
from ourvidz.storage.base import ObjectMissing

EVERY = 16  # frames between two that are screened: one second of a clip


def references(run: Run) -> Run:
    """Screen the references. Raises `Refused`, `ScreenUnavailable`. A refused reference refuses the job: no fallback."""
    given = {slot: picture for slot, picture in vars(run.references).items() if picture is not None}
    _look(run, ((Sight(run.claim.job_id, run.claim.job_type, "reference", slot=slot), picture) for slot, picture in given.items()))
    return run


def output(run: Run, made: Made) -> str | None:
    """Screen an output before it is recorded; return the version of the rules that allowed it, None without a screen. Raises as above."""
    frames = made.output.frames if isinstance(made.output, Clip) else None
    chosen = [made.output.image] if frames is None else [frames[n] for n in sampled(len(frames))]
    return _look(run, zip(_sights(run.claim, made.index, None if frames is None else len(frames)), chosen, strict=True))


def again(run: Run) -> Run:
    """Screen again what earlier claims made, in the spool or already uploaded: rules may have changed since, and a job is published whole
    or not at all. Raises as above."""
    if run.room.eye is None:
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


def withdraw(room: Room, claim: Claim) -> None:
    """Delete all uploaded outputs of a refused job, those of earlier claims too. Raises `StorageError`."""
    for a in room.jobs.artifacts(claim.job_id):
        # Outputs of a later claim are left: if there are any, this claim has lost the job.
        if a["uploaded_at"] is not None and a["claim_no"] <= claim.claim_no:
            room.store.delete(a["bucket"], a["path"])


def _sights(claim: Claim, index: int, frames: int | None) -> Iterator[Sight]:
    for frame in [None] if frames is None else sampled(frames):
        yield Sight(claim.job_id, claim.job_type, "output", index=index, frame=frame)


def _look(run: Run, pictures: Iterable[tuple[Sight, Image.Image]]) -> str | None:
    if (eye := run.room.eye) is None:
        return None
    version, left = None, iter(pictures)
    while several := list(islice(left, eye.at_once)):
        run.hold.watch.touch("screening", run.room.policy.load_stall)
        run.hold.check()
        encoded = [_png(picture) for _, picture in several]
        verdicts = eye.check_many(encoded, [sight for sight, _ in several])
        for (sight, _), data, verdict in zip(several, encoded, verdicts, strict=True):
            if not verdict.allowed:
                raise Refused(verdict, sight.kind, sight.name, hashlib.sha256(data).hexdigest())
            version = verdict.policy_version
    return version


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.convert("RGB").save(out, "PNG", compress_level=1)
    return out.getvalue()


def _bytes(run: Run, artifact: dict[str, Any]) -> bytes | None:
    """Return the artifact's bytes; None if the spool has lost it, which the upload will report."""
    if artifact["uploaded_at"] is None:
        path: Path | None = run.room.spool.find(artifact)
        return None if path is None else path.read_bytes()
    try:
        return run.room.store.read(artifact["bucket"], artifact["path"])
    except ObjectMissing as error:
        raise ExecutorError(f"{artifact['kind']} {artifact['index']} is no longer in its bucket, so it cannot be screened again") from error
