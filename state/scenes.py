"""A video (a row of `videos`): its statuses, and how a job's status is shown there. An image job is its preview, a video job its film.
The database's copy is `ourvidz.scene_steps`, read by `ourvidz.newest_of`.
"""

from __future__ import annotations

from typing import Any, Final

from state.machine import UNFINISHED, Status

STATUSES: Final = ("draft", "queued", "processing", "previewing", "preview_ready", "generating", "completed", "failed", "cancelled")
"""`queued` is how a front end inserts the row before it is linked to its job; `processing` is the older system's."""

SHOWN: Final = {
    # status of the job → of the row, as a preview's job and as a film's
    **dict.fromkeys(UNFINISHED, ("previewing", "generating")),
    Status.COMPLETED: ("preview_ready", "completed"),
    Status.FAILED: ("failed", "failed"),
    Status.CANCELLED: ("cancelled", "cancelled"),
}


def rows() -> list[dict[str, Any]]:
    """The table as the database has it."""
    return [
        {"stage": stage, "job_status": str(job), "status": status}
        for job, statuses in SHOWN.items()
        for stage, status in zip(("preview", "final"), statuses, strict=True)
    ]
