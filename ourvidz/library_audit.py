"""Expected contents of a job's rows in `images` and `videos`, from its events. Part of the audit: it shares no code with the database's
functions (`ourvidz.sync_images`, `ourvidz.sync_videos`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from state.events import Event
from state.job import Job
from state.machine import ENDED, EventType, Status
from state.video_status import SHOWN

OURS = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
"""Events that end a job here. An ended job without one of them was ended by the legacy system, and its rows are that system's."""

Row = Mapping[str, Any]


def outputs(events: Sequence[Event], kind: str) -> frozenset[int]:
    """Return the indexes of a job's outputs of this kind that were delivered by its last end and not deleted. Empty for a job that was
    refused."""
    there: set[int] = set()
    fresh: set[int] = set()
    for e in events:
        if e.type is EventType.ARTIFACT_UPLOADED and e.data["kind"] == kind:
            fresh.add(e.data["index"])
        elif e.type in OURS:
            there |= fresh
        if e.type is EventType.FAILED and e.data.get("final"):
            return frozenset()
    for e in events:  # in any order: a deletion may come before the output
        if e.type is EventType.REMOVED and e.data["what"] == "job":
            return frozenset()
        if e.type is EventType.REMOVED and e.data.get("kind") == kind:
            there.discard(e.data["index"])
    return frozenset(there)


def differences(job: Job, events: Sequence[Event], rows: Row) -> Iterator[str]:
    """Yield the differences between `images` and `videos` and the job's events. `rows`: the job's images, videos and artifacts,
    as `ourvidz.db.history` reads them."""
    if job.status in ENDED and not any(e.type in OURS for e in events):
        return
    paths = {(a["kind"], a["index"]): a["path"] for a in rows["artifacts"]}
    pictures = outputs(events, "image")
    erased = not rows["artifacts"] and bool(pictures)  # an erasure deletes artifacts and rows; events stay
    for row in rows["images"]:
        index = row["image_index"] or 0
        if job.status not in ENDED and index not in pictures:
            if row["status"] in ("completed", "failed"):
                yield f"image {row['id']} is {row['status']}, and the job is {job.status}"
        elif (row["status"] == "completed") != (index in pictures) or row["status"] not in ("completed", "failed"):
            yield f"image {row['id']} is {row['status']}, and picture {index} is {'there' if index in pictures else 'not there'}"
        elif row["image_url"] != (paths.get(("image", index)) if index in pictures else None):
            yield f"image {row['id']} does not name the path of picture {index}"
    missing = sorted(pictures - {row["image_index"] or 0 for row in rows["images"]})
    if missing and not erased:
        yield f"picture{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing))} without a row of images"
    for row in rows["videos"]:
        yield from _video(job, row, paths.get(("video", 0)) if 0 in outputs(events, "video") else None)


def _video(job: Job, row: Row, path: str | None) -> Iterator[str]:
    final = row["video_job_id"] == job.id
    there = final and job.status in ENDED and path is not None  # a delivered video is shown, however its job ended
    expected = SHOWN[Status.COMPLETED if there else job.status][final]
    if row["current_job_id"] == job.id and row["status"] != expected:
        yield f"video {row['id']} is {row['status']}, not {expected}"
    if there and row["video_url"] != path:
        yield f"video {row['id']} does not name the path of its film"
