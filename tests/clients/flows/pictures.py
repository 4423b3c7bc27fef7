"""/workspace creates images: the screen's calls in order, for each type, from the request to the delete."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..actions import fetched, make
from ..calls import bucket, from_
from ..table import SOMETHING, Do, Flow, Row
from .wire import (
    DELETE_IMAGE,
    PROMPT,
    WORKSPACE,
    WORKSPACE_JOBS,
    image_row,
    insert,
    newest,
    poll,
    queue,
    queued,
    usage,
)

PATH = re.compile(r"[0-9a-f-]{36}/[0-9a-f-]{36}/\d+-\d+\.png")  # inside its bucket, which metadata names
THUMBNAIL = re.compile(r"[0-9a-f-]{36}/[0-9a-f-]{36}/\d+-\d+[^/]*\.webp")


def finished(job_type: str, index: int | None, seed: object = int) -> dict[str, object]:
    """A finished images row as the pages read it."""
    said = {"bucket": job_type, "prompt": PROMPT, "seed": seed, "is_sdxl": job_type.startswith("sdxl"), "job_type": job_type,
            "model_type": "sdxl" if job_type.startswith("sdxl") else "wan"}  # fmt: skip
    return {"status": "completed", "title": SOMETHING, "image_url": PATH, "thumbnail_url": THUMBNAIL, "image_index": index, "project": None,
            "prompt": PROMPT, "metadata": said}  # fmt: skip


def sdxl(job_type: str, images: int, by: Callable[..., None] = make) -> Flow:
    ids = [f"$image{'abcdef'[n]}.id" for n in range(images)]
    joined = ",".join(f"${{{name[1:]}}}" for name in ids)
    inserts = [
        Row(f"{job_type}: images row {n}", "user", insert("images", image_row(job_type, "$made.job.id", n)),
            {"id": str, "status": "queued", "image_index": n, "job_id": "$made.job.id", "image_url": None}, saves=ids[n][1:-3],
            line="POST images")
        for n in range(images)
    ]  # fmt: skip
    return Flow(f"{job_type} × {images}", (
        Row(f"{job_type}: queue-job", "user", queue(job_type, images, seed=42), queued(job_type), saves="made", line="INSERT jobs, sdxl"),
        inserts[0],
        Row(f"{job_type}: PATCH image_id", "user", from_("jobs").update({"image_id": ids[0]}).eq("id", "$made.job.id"),
            then={"linked once": "select count(*) = 1 from public.job_events where job_id = '${made.job.id}' and type = 'linked'",
                  "the row names it": "select image_id = '${imagea.id}' from public.jobs where id = '${made.job.id}'"},
            line="PATCH jobs {image_id}"),
        *inserts[1:],
        Row(f"{job_type}: PATCH image_id again", "user", from_("jobs").update({"image_id": ids[0]}).eq("id", "$made.job.id"),
            then={"linked once": "select count(*) = 1 from public.job_events where job_id = '${made.job.id}' and type = 'linked'"}),
        Row(f"{job_type}: usage_logs", "user", usage(job_type, "$made.job.id")),
        Row(f"{job_type}: poll", "user", poll("$made.job.id"), {"status": "queued", "error_message": None, "image_id": ids[0]}),
        Do("an executor makes it", by, ("$made.job.id",)),
        Row(f"{job_type}: poll to the end", "user", poll("$made.job.id"), {"status": "completed"}, until=True),
        Row(f"{job_type}: what it made", "user", from_("jobs").select("image_id,video_id,job_type").eq("id", "$made.job.id").single(),
            {"image_id": ids[0], "video_id": None, "job_type": job_type}),
        Row(f"{job_type}: workspace images", "user",
            from_("images").select(WORKSPACE).eq("user_id", "$user.id").in_("id", ids).order("image_index"),
            [finished(job_type, n, 42 + n) for n in range(images)], saves="tiles", line="images after the end"),
        Row(f"{job_type}: workspace videos", "user",
            from_("videos").select(WORKSPACE).eq("user_id", "$user.id").in_("id", ids).order("created_at", {"ascending": False}), []),
        Row(f"{job_type}: workspace jobs", "user",
            from_("jobs").select(WORKSPACE_JOBS).or_(f"image_id.in.({joined}),video_id.in.({joined})"),
            [{"image_id": ids[0], "quality": SOMETHING, "job_type": job_type, "model_type": job_type, "metadata": {"prompt": PROMPT}}],
            line="jobs by rpc"),
        Row(f"{job_type}: sign", "user", bucket("$tiles.0.metadata.bucket").createSignedUrl("$tiles.0.image_url", 3600),
            {"signedUrl": SOMETHING}, saves="signed"),
        Do("the tile loads", fetched, ("$signed.signedUrl", "image/png")),
        Row(f"{job_type}: sign a thumbnail", "user", bucket("$tiles.0.metadata.bucket").createSignedUrl("$tiles.0.thumbnail_url", 3600),
            {"signedUrl": SOMETHING}),
        Row(f"{job_type}: info box", "user", from_("images").select("metadata").eq("id", ids[0]).single(), {"metadata": {"seed": 42}}),
        Row(f"{job_type}: delete, asks", "user", from_("images").select(DELETE_IMAGE).eq("id", ids[0]).maybeSingle(),
            {"image_url": PATH, "jobs": [{"quality": SOMETHING, "job_type": job_type, "model_type": job_type}]}, line="`jobs!jobs_*_fkey`"),
        Row(f"{job_type}: delete the row", "user", from_("images").delete().eq("id", ids[0]),
            then={"the row is gone": "select count(*) = 0 from public.images where id = '${imagea.id}'",
                  "its job stays": "select status = 'completed' and image_id is null from public.jobs where id = '${made.job.id}'",
                  "an event says so": "select count(*) = 1 from public.job_events where job_id = '${made.job.id}' and type = 'removed'"}),
        Row(f"{job_type}: delete the object", "user", bucket("$tiles.0.metadata.bucket").remove(["$tiles.0.image_url"])),
        Row(f"{job_type}: deleted", "user", bucket("$tiles.0.metadata.bucket").createSignedUrl("$tiles.0.image_url", 3600), refused=404),
        Row(f"{job_type}: the others stay", "user", from_("images").select("id,status").in_("id", ids).order("image_index"),
            [{"id": i, "status": "completed"} for i in ids[1:]]),
    ))  # fmt: skip


def wan(job_type: str, images: int = 1, by: Callable[..., None] = make) -> Flow:
    """For families whose screen writes a single row without an index; `num_images` is still sent."""
    one = image_row(job_type, "$made.job.id")
    return Flow(f"{job_type} × {images}", (
        Row(f"{job_type}: queue-job", "user", queue(job_type, images), queued(job_type), saves="made", line="image7b, num_images 3/6"),
        Row(f"{job_type}: images row", "user", insert("images", one), {"id": str, "status": "queued", "image_index": None}, saves="image",
            line="POST images"),
        Row(f"{job_type}: PATCH image_id", "user", from_("jobs").update({"image_id": "$image.id"}).eq("id", "$made.job.id"),
            then={"the row names it": "select image_id = '${image.id}' from public.jobs where id = '${made.job.id}'"}),
        Row(f"{job_type}: usage_logs", "user", usage(job_type, "$made.job.id")),
        Do("an executor makes it", by, ("$made.job.id",)),
        Row(f"{job_type}: poll to the end", "user", poll("$made.job.id"), {"status": "completed", "image_id": "$image.id"}, until=True),
        Row(f"{job_type}: workspace images", "user", newest("images", WORKSPACE).in_("id", ["$image.id"]), [finished(job_type, None)],
            saves="tiles", line="images after the end"),
        Row(f"{job_type}: by its job", "user",
            from_("images").select("id").eq("job_id", "$made.job.id").eq("status", "completed"), [{"id": "$image.id"}]),
        Row(f"{job_type}: sign", "user", bucket("$tiles.0.metadata.bucket").createSignedUrl("$tiles.0.image_url", 3600),
            {"signedUrl": SOMETHING}, saves="signed"),
        Do("the tile loads", fetched, ("$signed.signedUrl", "image/png")),
    ))  # fmt: skip


FLOWS = (
    sdxl("sdxl_image_fast", 3),
    sdxl("sdxl_image_high", 1),
    wan("image_fast"),
    wan("image_high"),
    wan("image7b_fast_enhanced", 3),
    wan("image7b_high_enhanced", 6),
)
