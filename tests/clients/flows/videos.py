"""/workspace creates videos: the job first, then the videos row, then the link between them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..actions import fetched, make
from ..calls import bucket, from_
from ..table import SOMETHING, Do, Flow, Row
from .wire import DELETE_VIDEO, PROMPT, WORKSPACE, WORKSPACE_JOBS, insert, newest, poll, queue, queued, usage, video_row

PATH = re.compile(r"[0-9a-f-]{36}/[0-9a-f-]{36}/\d+-\d+\.mp4")
THUMBNAIL = re.compile(r"[0-9a-f-]{36}/[0-9a-f-]{36}/\d+-\d+[^/]*\.webp")


def video(job_type: str, by: Callable[..., None] = make, **metadata: Any) -> Flow:
    end = {"status": "completed", "title": SOMETHING, "video_url": PATH, "thumbnail_url": THUMBNAIL, "completed_at": SOMETHING,
           "metadata": {"bucket": job_type, "prompt": PROMPT, "thumbnail_bucket": "video-thumbnails"}}  # fmt: skip
    return Flow(job_type, (
        Row(f"{job_type}: queue-job", "user", queue(job_type, **metadata), queued(job_type), saves="made"),
        Row(f"{job_type}: videos row", "user", insert("videos", video_row(job_type)), {"id": str, "status": "queued", "format": "mp4"},
            saves="video", line="POST videos"),
        Row(f"{job_type}: PATCH video_id", "user", from_("jobs").update({"video_id": "$video.id"}).eq("id", "$made.job.id"),
            then={"the row names it": "select video_id = '${video.id}' from public.jobs where id = '${made.job.id}'"},
            line="PATCH jobs {image_id}"),
        Row(f"{job_type}: usage_logs", "user", usage(job_type, "$made.job.id")),
        Do("an executor makes it", by, ("$made.job.id",)),
        Row(f"{job_type}: poll to the end", "user", poll("$made.job.id"), {"status": "completed", "video_id": "$video.id"}, until=True),
        Row(f"{job_type}: workspace videos", "user", newest("videos", WORKSPACE).in_("id", ["$video.id"]), [end], saves="tiles",
            line="video_url"),
        Row(f"{job_type}: workspace jobs", "user",
            from_("jobs").select(WORKSPACE_JOBS).or_("image_id.in.(${video.id}),video_id.in.(${video.id})"),
            [{"video_id": "$video.id", "job_type": job_type, "model_type": job_type}]),
        Row(f"{job_type}: sign", "user", bucket("$tiles.0.metadata.bucket").createSignedUrl("$tiles.0.video_url", 7200),
            {"signedUrl": SOMETHING}, saves="signed"),
        Do("the clip loads", fetched, ("$signed.signedUrl", "video/mp4")),
        Row(f"{job_type}: delete, asks", "user", from_("videos").select(DELETE_VIDEO).eq("id", "$video.id").maybeSingle(),
            {"video_url": PATH, "jobs": [{"quality": SOMETHING, "job_type": job_type}]}, line="`jobs!jobs_*_fkey`"),
        Row(f"{job_type}: delete the row", "user", from_("videos").delete().eq("id", "$video.id"),
            then={"the row is gone": "select count(*) = 0 from public.videos where id = '${video.id}'",
                  "its job stays": "select status = 'completed' and video_id is null from public.jobs where id = '${made.job.id}'"}),
        Row(f"{job_type}: delete the object", "user", bucket("$tiles.0.metadata.bucket").remove(["$tiles.0.video_url"])),
        Row(f"{job_type}: deleted", "user", bucket("$tiles.0.metadata.bucket").createSignedUrl("$tiles.0.video_url", 7200), refused=404),
    ))  # fmt: skip


FLOWS = tuple(video(f"{kind}") for kind in ("video_fast", "video_high", "video7b_fast_enhanced", "video7b_high_enhanced"))
