"""Run one job as a sequence of steps over one value: screen → references → (device: enhance → generate) → encode → screen again →
upload → complete. A step is skipped when an earlier attempt has done it.

Each job runs in a thread of its own, so one uploads while the next is on the device and a third is prepared. They share only the device,
which takes them one by one (`executors.device`). `attempt` is the single place that catches errors and passes them to policy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from executors import enhancing, guarding, looking, texts
from executors.errors import Cancelled, ExecutorError, LeaseLost, ModelFileError
from executors.heartbeat import Drained, Hold
from executors.outputs import VIDEO_THUMBNAILS, record
from executors.prompts import build_negative
from executors.referring import references, still_attested
from executors.room import Refused, Room, Run
from executors.spool import Spool
from ourvidz.db.connection import DatabaseAway
from ourvidz.lifecycle import Claim
from ourvidz.safety.screen import ScreenUnavailable
from ourvidz.storage.base import StorageError
from state.errors import ExecutorGone, NotAgeVerified, StaleClaim, Suspended

log = logging.getLogger("ourvidz.run")


def attempt(room: Room, hold: Hold) -> str:
    """Run one claim to its end. Returns the outcome: completed, cancelled, snoozed, policy's answer to a failure, lost (another claim has
    the job), or unsaid (this claim may still have it, but the outcome could not be written)."""
    claim = hold.claim
    try:
        _walk(Run(room, hold, claim.prompt))
        room.jobs.complete(claim)
        room.spool.drop(claim.job_id)
        if claim.claim_no > 1:
            _sweep(room, claim)
        return "completed"
    except StaleClaim:
        _sweep(room, claim)
        return "lost"
    except LeaseLost:
        return "lost" if hold.lost else "unsaid"  # another claim has the job, or may have it by now: write nothing
    except (ExecutorGone, DatabaseAway):
        return "unsaid"
    except (Cancelled, NotAgeVerified, Suspended):
        return _quietly(lambda: room.jobs.honour_cancel(claim), "cancelled")
    except (Drained, KeyboardInterrupt):
        return _quietly(lambda: room.jobs.snooze(claim, "drain"), "snoozed")
    except ModelFileError:
        return _quietly(lambda: room.jobs.snooze(claim, "model_file", 1.0), "snoozed")
    except Refused as refusal:
        said, verdict = str(refusal), refusal.verdict
        word = _quietly(lambda: room.jobs.fail(claim, "refused_content", said, final=True, verdict=verdict), "failed")
        if word == "failed":
            room.spool.drop(claim.job_id)
            _withdraw(room, claim)
        return word
    except Exception as error:
        name, retryable = classify(error)
        log.log(logging.WARNING if retryable else logging.ERROR, "Job %s: %s", claim.job_id, error, exc_info=name == "unexpected")
        said = str(error) or type(error).__name__
        final = isinstance(error, ExecutorError) and error.final
        return _quietly(lambda: room.jobs.fail(claim, name, said, retryable=retryable, final=final), "failed")


def _walk(run: Run) -> None:
    steps = (
        screen, guarding.language, prepare, guarding.apart, references, looking.references, enhancing.apart, guarding.apart, generate,
        looking.again, upload,
    )  # fmt: skip
    for step in steps:
        run = step(run)


def classify(error: Exception) -> tuple[str, bool]:
    """Return the error class for the event, and whether a retry may help."""
    if isinstance(error, ExecutorError | StorageError | ScreenUnavailable):
        return error.error_class, error.retryable
    return "unexpected", True


def _sweep(room: Room, claim: Claim) -> None:
    """Delete objects that earlier claims of this job left in storage: those under its folder that none of its artifact rows names.

    A row is written before its object, by the claim that holds the job; so an object without a row will never be used.
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


def _withdraw(room: Room, claim: Claim) -> None:
    """Delete what an earlier attempt of a refused job has uploaded. From the refusal's event on the user may not read it, and it is listed
    for deletion (ourvidz.removals): this only deletes it sooner."""
    try:
        looking.withdraw(room, claim)
    except (StorageError, DatabaseAway) as error:
        log.warning("Job %s: what it had put up is deleted later (%s).", claim.job_id, error)


def _quietly(report: Callable[[], str | None], word: str) -> str:
    try:
        return report() or word
    except StaleClaim:
        return "lost"
    except (ExecutorGone, DatabaseAway):
        return "unsaid"


# -- steps --------------------------------------------------------------------------------------------------------------------------


def screen(run: Run) -> Run:
    """Screen every text of the job before any model sees it, whichever way the job was submitted."""
    run.enter("preparing")
    prompt, kept, said, every = texts.of_claim(run.claim, run.jobs.job_texts(run.claim))
    for text in every:
        run.screen(text)
    return replace(run, prompt=prompt.text, kept=kept, said=said, texts=every)


def prepare(run: Run) -> Run:
    """Build the negative prompt, and list the outputs still to be made."""
    claim = run.claim
    negative = build_negative(claim.kind.family, "video" if claim.kind.video else "image", run.said.text if run.said else None)
    if negative.cut:  # the terms are the user's, so they are not quoted
        run.show(
            "preparing", note=f"the negative prompt is longer than the model reads at once: {negative.cut} of its terms are left out or cut"
        )
    return replace(run, negative=negative.text, todo=missing(run.room.spool, claim, claim.artifacts))


def generate(run: Run) -> Run:
    """Wait for the device; record each output as soon as it is decoded, while the next is made."""
    if not run.todo:
        return run
    run.hold.watch.rest()  # the device has its own watch
    with closing(run.room.device.offer(run).outputs()) as outputs:
        for made in outputs:
            allowed = looking.output(run, made)
            run.hold.watch.touch("encoding", run.room.policy.load_stall)
            record(run, made, allowed)
            run.hold.watch.rest()
    return run


def upload(run: Run) -> Run:
    """Upload every recorded output and mark it uploaded, one at a time: an uploaded output stays, whatever happens to this claim."""
    claim, room = run.claim, run.room
    run.hold.begun = True
    run.enter("uploading")
    still_attested(run)
    waiting = [a for a in run.jobs.artifacts(claim.job_id) if a["uploaded_at"] is None]
    resumed = not waiting or claim.claim_no != max(a["claim_no"] for a in waiting)
    run.jobs.advance(claim, "upload_started", outputs=len(waiting), resumed=resumed)
    for n, artifact in enumerate(sorted(waiting, key=lambda a: (a["kind"], a["index"]))):
        run.hold.check()
        path = room.spool.find(artifact)
        if path is None:
            raise ExecutorError(f"the spool lost {artifact['kind']} {artifact['index']}; it will be made again")
        stored = room.store.put(artifact["bucket"], artifact["path"], path, artifact["media_type"])
        if stored.sha256 != artifact["sha256"]:
            raise ExecutorError(f"{artifact['kind']} {artifact['index']} changed on its way from the spool")
        run.jobs.artifact_uploaded(claim, artifact["kind"], artifact["index"], artifact["sha256"])
        run.hold.watch.touch()
        run.show("uploading", n + 1, len(waiting))
    return run


def missing(spool: Spool, claim: Claim, artifacts: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the indices of the job's outputs that are neither uploaded nor in the spool."""
    have = {(a["kind"], a["index"]): a for a in artifacts}
    kind = "video" if claim.kind.video else "image"

    def there(index: int) -> bool:
        parts = [have.get((k, index)) for k in (kind, "thumbnail")]
        return all(a is not None and (a["uploaded_at"] is not None or spool.find(a) is not None) for a in parts)

    return [index for index in range(claim.settings.images) if not there(index)]
