"""Statuses of a video (a row of `videos`), and how a job's status is shown there. An image job is its preview, a video job its final video.
The database's copy is `ourvidz.scene_steps`, read by `ourvidz.newest_stage_job`."""

from __future__ import annotations

from typing import Any, Final

from state.machine import UNFINISHED, Status

STATUSES: Final = ("draft", "queued", "processing", "previewing", "preview_ready", "generating", "completed", "failed", "cancelled")
"""`queued` is set by a front end that inserts the row before linking its job; `processing` is the legacy system's."""

SHOWN: Final = {
    # status of the job → of the row, for a preview job and for a final-video job
    **dict.fromkeys(UNFINISHED, ("previewing", "generating")),
    Status.COMPLETED: ("preview_ready", "completed"),
    Status.FAILED: ("failed", "failed"),
    Status.CANCELLED: ("cancelled", "cancelled"),
}


def rows() -> list[dict[str, Any]]:
    """The rows of `ourvidz.scene_steps`."""
    return [
        {"stage": stage, "job_status": str(job), "status": status}
        for job, statuses in SHOWN.items()
        for stage, status in zip(("preview", "final"), statuses, strict=True)
    ]
