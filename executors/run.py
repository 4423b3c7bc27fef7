"""One job, as one straight line of named steps over one value: screen → references → enhance → generate → upload → complete.

Each step is skipped when an earlier attempt has done it. `attempt` is the single place that catches an error and hands it to policy.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors import media
from executors.errors import BadOutput, BadReference, Cancelled, EnhancementFailed, ExecutorError, LeaseLost, ModelFileError
from executors.heartbeat import Drained, Heartbeat
from executors.models.base import Clip, Family, Output, References, Work
from executors.prompts import build_negative, unweighted
from executors.references import load_reference
from executors.shelf import Shelf
from executors.spool import Spool, name_of
from ourvidz.db.connection import DatabaseAway
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.progress import Observer, Progress
from ourvidz.safety.screen import ScreenUnavailable, guarded_check
from ourvidz.storage.base import ArtifactStore, ObjectMissing, StorageError, object_path, thumbnail_path
from state.catalog import MP4, PNG, REFERENCE_BUCKET, WEBP
from state.errors import ExecutorGone, StaleClaim
from state.policy import Policy

if TYPE_CHECKING:
    from executors.enhance import Enhanced

log = logging.getLogger("ourvidz.run")

THUMBNAIL = 256  # pixels, longest side
VIDEO_THUMBNAILS = "video-thumbnails"


class Refused(Exception):
    """The screen refused the text: the job fails for good."""

    def __init__(self, category: str, policy_version: str) -> None:
        super().__init__(f"The prompt was refused ({category}, policy {policy_version}).")
        self.verdict = {"category": category, "policy_version": policy_version}


@dataclass(frozen=True)
class Room:
    """What an executor works with, the same for all its jobs."""

    jobs: Jobs
    store: ArtifactStore
    shelf: Shelf
    spool: Spool
    heartbeat: Heartbeat
    policy: Policy
    observe: Observer


@dataclass(frozen=True)
class Run:
    """A claim on its way through the line."""

    room: Room
    claim: Claim
    prompt: str
    todo: Sequence[int] = ()  # indices of the outputs that still have to be made; looked up once, so that all steps agree
    references: References = field(default_factory=References)
    started: float = field(default_factory=time.monotonic)

    @property
    def jobs(self) -> Jobs:
        return self.room.jobs

    def show(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        self.room.observe(Progress(self.claim.job_id, self.claim.job_type, stage, done, total, note))

    def enter(self, stage: str, limit: float) -> None:
        """A new stage, which may go `limit` seconds without progress."""
        self.room.heartbeat.touch(stage, limit)
        self.room.heartbeat.check()
        self.show(stage)


def attempt(room: Room, claim: Claim) -> str:
    """Run one claim to its end, whatever that is. Returns a word: completed, cancelled, lost, snoozed, or policy's answer."""
    room.heartbeat.hold(claim)
    try:
        run = Run(room, claim, claim.prompt, missing(room.spool, claim, claim.artifacts))
        for step in (screen, references, enhance, generate, upload):
            run = step(run)
        room.jobs.complete(claim)
        room.spool.drop(claim.job_id)
        if claim.claim_no > 1:
            _sweep(room, claim)
        return "completed"
    except StaleClaim:
        _sweep(room, claim)
        return "lost"
    except (LeaseLost, ExecutorGone, DatabaseAway):
        return "lost"  # someone else has the job, or may have by now: write nothing
    except Cancelled:
        return _quietly(lambda: room.jobs.honour_cancel(claim), "cancelled")
    except Drained:
        return _quietly(lambda: room.jobs.snooze(claim, "drain"), "snoozed")
    except KeyboardInterrupt:
        _quietly(lambda: room.jobs.snooze(claim, "drain"), "snoozed")
        raise
    except ModelFileError as error:
        # The executor's fault, not the job's: give it back to one that has the model, and serve what is left.
        moved = room.shelf.spoiled(claim.lane)
        log.error("Lane %s is closed here: %s%s", claim.lane, error, f" (in quarantine: {', '.join(map(str, moved))})" if moved else "")
        return _quietly(lambda: room.jobs.snooze(claim, "model_file", 1.0), "snoozed")
    except Refused as refusal:
        said, verdict = str(refusal), refusal.verdict
        return _quietly(lambda: room.jobs.fail(claim, "refused_content", said, final=True, verdict=verdict), "failed")
    except Exception as error:
        name, retryable = classify(error)
        log.log(logging.WARNING if retryable else logging.ERROR, "Job %s: %s", claim.job_id, error, exc_info=name == "unexpected")
        said = str(error) or type(error).__name__
        return _quietly(lambda: room.jobs.fail(claim, name, said, retryable=retryable), "failed")
    finally:
        room.heartbeat.hold(None)


def classify(error: Exception) -> tuple[str, bool]:
    """The word for the event, and whether another attempt may help."""
    if isinstance(error, ExecutorError | StorageError | ScreenUnavailable):
        return error.error_class, error.retryable
    return "unexpected", True


def _sweep(room: Room, claim: Claim) -> None:
    """Remove what claims that lost this job left in storage: objects under its folder that no row of it names.

    A row is written before its object, and by the claim that holds the job; so what no row names, nobody will come to want.
    """
    try:
        named = {(a["bucket"], a["path"]) for a in room.jobs.artifacts(claim.job_id)}
        for bucket in (claim.job_type, *([VIDEO_THUMBNAILS] if claim.kind.video else [])):
            for path in room.store.list(bucket, f"{claim.user_id}/{claim.job_id}"):
                if (bucket, path) not in named:
                    room.store.delete(bucket, path)
                    log.info("Job %s: removed %s/%s, which an earlier claim left behind.", claim.job_id, bucket, path)
    except (StorageError, DatabaseAway) as error:
        log.warning("Job %s: its strays stay for now (%s).", claim.job_id, error)


def _quietly(report: Callable[[], str | None], word: str) -> str:
    try:
        return report() or word
    except (StaleClaim, ExecutorGone, DatabaseAway):
        return "lost"


# -- the line -----------------------------------------------------------------------------------------------------------------------


def screen(run: Run) -> Run:
    """No model sees a text that was not screened here, whichever way the job came in. Fails closed."""
    _screen(run, run.claim.prompt)
    if run.claim.enhanced_prompt is not None:
        _screen(run, run.claim.enhanced_prompt)
    return run


def _screen(run: Run, text: str) -> None:
    # Also as the model will read it: weight signs inside a word would hide it from the screen and from no one else.
    for reading in dict.fromkeys((text, unweighted(text))):
        verdict = guarded_check(run.jobs.screen, reading)
        if not verdict.allowed:
            raise Refused(verdict.category or "refused", verdict.policy_version)


def references(run: Run) -> Run:
    """Read the pictures the job refers to. One that cannot be read fails the job, unless it said to go on without."""
    wanted = run.claim.settings.references
    if not wanted or not run.todo:
        return run
    run.enter("preparing", run.room.policy.step_stall)
    pictures: dict[str, Any] = {}
    for slot, address in wanted.items():
        try:
            pictures[slot] = load_reference(_fetch(run, slot, address))
        except BadReference as error:
            if not run.claim.settings.reference_fallback or slot == "init":
                raise
            run.jobs.advance(run.claim, "reference_skipped", reference=slot, reason=error.error_class)
            run.show("preparing", note=f"going on without {slot}: {error}")
    return replace(run, references=References(**pictures))


def _fetch(run: Run, slot: str, address: str) -> bytes:
    """The bytes at `bucket/path`, from our own store alone, and only from the user's own folder or among their outputs."""
    bucket, _, path = address.partition("/")
    if not path.startswith(f"{run.claim.user_id}/"):
        raise BadReference(f"reference {slot} is not one of this user's own objects")
    limit = run.room.store.buckets().get(bucket, run.room.store.buckets()[REFERENCE_BUCKET]).max_bytes
    try:
        with run.room.store.open(bucket, path) as stream:
            data = stream.read(limit + 1)
    except (ObjectMissing, StorageError) as error:
        if isinstance(error, StorageError) and error.retryable:
            raise
        raise BadReference(f"reference {slot} is not there: {error}") from error
    if len(data) > limit:
        raise BadReference(f"reference {slot} has over {limit:,} bytes")
    return data


def enhance(run: Run) -> Run:
    """Turn the prompt into a description of the scene, once; an earlier attempt's is used again. Falls back as the job says."""
    claim, settings = run.claim, run.claim.settings
    if not claim.kind.enhance or not run.todo:
        return run
    if claim.enhanced_prompt is not None:
        return replace(run, prompt=claim.enhanced_prompt)
    run.jobs.advance(claim, "enhancement_started")
    run.enter("enhancing", run.room.policy.load_stall)
    started = time.monotonic()

    try:
        done = _enhanced(run)
    except (Cancelled, LeaseLost, Drained):
        raise
    except Exception as error:
        # Whatever it was, out of memory or a bug in a tokenizer, the prompt as written will do, unless the job says otherwise.
        reason = error.error_class if isinstance(error, ExecutorError) else "unexpected"
        if settings.on_enhance_failure == "fail":
            raise EnhancementFailed(f"the prompt could not be enhanced: {error}") from error
        run.jobs.advance(claim, "enhancement_skipped", reason=reason, seconds=round(time.monotonic() - started, 3))
        run.show("enhancing", note=f"going on with the prompt as written: {error}")
        return run
    _screen(run, done.text)
    if done.note:
        run.show("enhancing", note=done.note)
    run.jobs.enhanced(claim, done.text, seconds=done.seconds, tokens=done.tokens)
    return replace(run, prompt=done.text)


def _enhanced(run: Run) -> Enhanced:
    room, style = run.room, "wan" if run.claim.kind.video else "wan_image"

    def each_token() -> None:
        room.heartbeat.touch("enhancing", room.policy.step_stall)
        room.heartbeat.check()

    if not room.shelf.can_enhance:
        raise EnhancementFailed("this executor has no enhancement model")
    return room.shelf.enhancer().enhance(run.prompt, style, deadline_s=room.policy.enhance_limit, should_stop=each_token)


def generate(run: Run) -> Run:
    """Make the outputs that are neither uploaded nor in this host's spool, each recorded as soon as it is decoded."""
    if not run.todo:
        return run
    claim = run.claim
    run.enter("loading", run.room.policy.load_stall)
    family = run.room.shelf.family(claim.lane)
    about = family.describe()
    run.jobs.advance(claim, "generation_started", profile=run.room.shelf.profile.name, device=str(about.get("device", ""))[:80])
    run.enter("generating", run.room.policy.step_stall)
    try:
        _record(run, family, _work(run, run.todo), run.todo, about)
    except BadOutput as error:
        run.jobs.advance(claim, "generation_repeated", reason=error.error_class)
        run.show("generating", note=f"{error}; once more in higher precision")
        again = missing(run.room.spool, claim, run.jobs.artifacts(claim.job_id))
        _record(run, family, replace(_work(run, again), precise=True), again, about)
    return run


def upload(run: Run) -> Run:
    """Put every recorded output into its bucket, and say so, one at a time: what is up stays up, whatever becomes of this claim."""
    claim, room = run.claim, run.room
    waiting = [a for a in run.jobs.artifacts(claim.job_id) if a["uploaded_at"] is None]
    resumed = not waiting or claim.claim_no != max(a["claim_no"] for a in waiting)
    run.jobs.advance(claim, "upload_started", outputs=len(waiting), resumed=resumed)
    run.enter("uploading", room.policy.load_stall)
    for n, artifact in enumerate(sorted(waiting, key=lambda a: (a["kind"], a["index"]))):
        room.heartbeat.check()
        path = room.spool.find(artifact)
        if path is None:
            raise ExecutorError(f"the spool lost {artifact['kind']} {artifact['index']}; it will be made again")
        stored = room.store.put(artifact["bucket"], artifact["path"], path, artifact["media_type"])
        if stored.sha256 != artifact["sha256"]:
            raise ExecutorError(f"{artifact['kind']} {artifact['index']} changed on its way from the spool")
        run.jobs.artifact_uploaded(claim, artifact["kind"], artifact["index"], artifact["sha256"])
        room.heartbeat.touch()
        run.show("uploading", n + 1, len(waiting))
    return run


# -- outputs ------------------------------------------------------------------------------------------------------------------------


def missing(spool: Spool, claim: Claim, artifacts: Sequence[Mapping[str, Any]]) -> list[int]:
    """Indices of the outputs that are neither uploaded nor in the spool, of all that the claim's job should have."""
    have = {(a["kind"], a["index"]): a for a in artifacts}
    kind = "video" if claim.kind.video else "image"

    def there(index: int) -> bool:
        parts = [have.get((k, index)) for k in (kind, "thumbnail")]
        return all(a is not None and (a["uploaded_at"] is not None or spool.find(a) is not None) for a in parts)

    return [index for index in range(claim.settings.images) if not there(index)]


def _work(run: Run, indices: Sequence[int]) -> Work:
    claim, s = run.claim, run.claim.settings
    output = "video" if claim.kind.video else "image"
    negative = build_negative(claim.kind.family, output, claim.negative_prompt)
    return Work(
        job_id=claim.job_id,
        job_type=claim.job_type,
        prompt=run.prompt,
        negative_prompt=negative.text,
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
        reference_type=s.reference_type if run.references.style else None,  # gone with its picture, where a fallback was allowed
        reference_strength=s.reference_strength or 1.0,
        references=run.references,
    )


def _stepper(run: Run) -> Callable[[int, int], None]:
    def on_step(done: int, total: int) -> None:
        run.room.heartbeat.touch("generating", run.room.policy.step_stall)
        run.show("generating", done, total)
        run.room.heartbeat.check()  # raises through the pipeline: a cancel costs no decode

    return on_step


def _record(run: Run, family: Family, work: Work, indices: Sequence[int], about: Mapping[str, Any]) -> None:
    begun = time.monotonic()
    # Closed at once, however this ends: the family puts its pipeline back in order there, and must not do so during the next job.
    with closing(family.generate(work, _stepper(run))) as outputs:
        for index, output in zip(indices, outputs, strict=True):
            for artifact, fill in _encoded(run, index, output, about):
                path, sha256 = run.room.spool.write(run.claim.job_id, name_of(artifact), fill)
                whole = artifact | {"bytes": path.stat().st_size, "sha256": sha256, "spool": run.room.spool.id}
                run.jobs.artifact_generated(run.claim, whole, seconds=time.monotonic() - begun)
            begun = time.monotonic()
            run.room.heartbeat.touch()


def _encoded(run: Run, index: int, output: Output, about: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Callable[[Path], object]]]:
    """The output's own file and its thumbnail: what each is, where it goes, and what writes it."""
    claim, s = run.claim, run.claim.settings
    profile = run.room.shelf.profile.name
    picture = media.middle_frame(output.frames) if isinstance(output, Clip) else output.image
    was = claim.metadata.get("rerouted")  # what was asked for, where a fallback makes the job (ourvidz.reroute_job writes it)
    asked = (was["settings"]["width"], was["settings"]["height"]) if was else (s.width, s.height)
    width, height = picture.size
    info = {
        "Software": "OurVidz",
        "ourvidz:job": claim.job_id,
        "ourvidz:job_type": claim.job_type,
        "ourvidz:model": str(about.get("model") or about.get("models") or about.get("family")),
        "ourvidz:tiny": str(bool(about.get("tiny"))).lower(),
        "ourvidz:seed": str(output.seed),
        "ourvidz:profile": profile,
        **({"ourvidz:asked_for": was["job_type"]} if was else {}),
        "ourvidz:settings": " ".join(f"{k}={v}" for k, v in s.as_dict().items() if k not in ("references", "seed")),
    }
    where: dict[str, Any] = {
        "index": index,
        "bucket": claim.job_type,
        "seed": output.seed,
        "width": width,
        "height": height,
        # A tiny model makes a small picture of what was asked for; both sizes are said.
        "metadata": {
            "asked": list(asked),
            "made": [width, height],
            "model": dict(about),
            "profile": profile,
            **({"asked_for": was["job_type"]} if was else {}),
        },
    }
    address = (claim.user_id, claim.job_id, claim.claim_no, index)
    if isinstance(output, Clip):
        clip = {"kind": "video", "path": object_path(*address, "mp4"), "media_type": MP4, "frames": len(output.frames)}
        yield where | clip, lambda path: media.encode_mp4(output.frames, output.fps, path, info)
    else:
        image = {"kind": "image", "path": object_path(*address, "png"), "media_type": PNG}
        yield where | image, lambda path: path.write_bytes(media.encode_png(picture, info))
    small = media.encode_webp_thumbnail(picture, THUMBNAIL)
    scale = min(1.0, THUMBNAIL / max(width, height))
    size = {"width": max(1, round(width * scale)), "height": max(1, round(height * scale))}
    bucket = VIDEO_THUMBNAILS if isinstance(output, Clip) else claim.job_type
    thumbnail = {"kind": "thumbnail", "bucket": bucket, "path": thumbnail_path(*address), "media_type": WEBP}
    yield where | size | thumbnail, lambda path: path.write_bytes(small)
