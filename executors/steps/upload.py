"""The upload step, and the deletion of what a job must not leave in storage."""

from __future__ import annotations

import logging

from executors.context import ExecutorContext, JobRun
from executors.errors import ExecutorError
from executors.steps.encode import VIDEO_THUMBNAILS
from executors.steps.references import still_attested
from ourvidz.db.connection import DatabaseAway
from ourvidz.lifecycle import Claim
from ourvidz.storage.base import StorageError

log = logging.getLogger("ourvidz.run")


def outputs(run: JobRun) -> JobRun:
    """Upload every recorded output and mark it uploaded, one at a time: an uploaded output stays, whatever happens to this claim."""
    claim, context = run.claim, run.context
    run.hold.begun = True
    run.enter("uploading")
    still_attested(run)
    waiting = [a for a in run.jobs.artifacts(claim.job_id) if a["uploaded_at"] is None]
    resumed = not waiting or claim.claim_no != max(a["claim_no"] for a in waiting)
    run.jobs.advance(claim, "upload_started", outputs=len(waiting), resumed=resumed)
    for n, artifact in enumerate(sorted(waiting, key=lambda a: (a["kind"], a["index"]))):
        run.hold.check()
        path = context.spool.find(artifact)
        if path is None:
            raise ExecutorError(f"the spool lost {artifact['kind']} {artifact['index']}; it will be made again")
        stored = context.store.put(artifact["bucket"], artifact["path"], path, artifact["media_type"])
        if stored.sha256 != artifact["sha256"]:
            raise ExecutorError(f"{artifact['kind']} {artifact['index']} changed on its way from the spool")
        run.jobs.artifact_uploaded(claim, artifact["kind"], artifact["index"], artifact["sha256"])
        run.hold.watch.touch()
        run.show("uploading", n + 1, len(waiting))
    return run


def delete_leftovers(context: ExecutorContext, claim: Claim) -> None:
    """Delete objects that earlier claims of this job left in storage: those under its folder that none of its artifact rows names.

    A row is written before its object, by the claim that holds the job; so an object without a row will never be used.
    """
    try:
        named = {(a["bucket"], a["path"]) for a in context.jobs.artifacts(claim.job_id)}
        for bucket in (claim.job_type, *([VIDEO_THUMBNAILS] if claim.kind.video else [])):
            for path in context.store.list(bucket, f"{claim.user_id}/{claim.job_id}"):
                if (bucket, path) not in named:
                    context.store.delete(bucket, path)
                    log.info("Job %s: removed %s/%s, which an earlier claim left behind.", claim.job_id, bucket, path)
    except (StorageError, DatabaseAway) as error:
        log.warning("Job %s: its strays stay for now (%s).", claim.job_id, error)


def withdraw(context: ExecutorContext, claim: Claim) -> None:
    """Delete the uploaded outputs of a refused job, those of earlier claims too. From the refusal's event on the user may not read them,
    and they are listed for deletion (ourvidz.removals): this only deletes them sooner."""
    try:
        for a in context.jobs.artifacts(claim.job_id):
            # Outputs of a later claim are left: if there are any, this claim has lost the job.
            if a["uploaded_at"] is not None and a["claim_no"] <= claim.claim_no:
                context.store.delete(a["bucket"], a["path"])
    except (StorageError, DatabaseAway) as error:
        log.warning("Job %s: its uploaded outputs are deleted later (%s).", claim.job_id, error)
