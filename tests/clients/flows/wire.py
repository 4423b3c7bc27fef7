"""The deployed front end's requests, field by field (CLIENTS.md §2, §3)."""

from __future__ import annotations

from typing import Any

from ..calls import Call, from_, function

PROMPT = "a lighthouse at dusk, long exposure"
CREDITS = {"sdxl": (1, 2), "image7b": (2, 3), "video": (3, 5), "video7b": (4, 6), "image": (1, 2)}
BEFORE = "2025-07-07T12:00:00.000Z"


def high(job_type: str) -> bool:
    return "_high" in job_type


def sdxl(job_type: str) -> bool:
    return job_type.startswith("sdxl")


def credits(job_type: str) -> int:
    return CREDITS[job_type.split("_")[0]][high(job_type)]


def metadata(job_type: str, images: int = 1, **more: Any) -> dict[str, Any]:
    """queue-job's metadata as the workspace sends it: no size, no projectId."""
    return {
        "model_variant": "lustify_sdxl" if sdxl(job_type) else "wan_2_1_1_3b", "num_images": images, "credits": credits(job_type),
        "model_type": "sdxl" if sdxl(job_type) else "wan", "is_sdxl": sdxl(job_type), "prompt": PROMPT,
        "queue": "sdxl_queue" if sdxl(job_type) else "wan_queue", "bucket": job_type, "generation_format": job_type,
        "enhanced_tracking": True, "client_timestamp": BEFORE, "batch_count": 1, **more,
    }  # fmt: skip


def queue(job_type: str, images: int = 1, **more: Any) -> Call:
    return function("queue-job", {"jobType": job_type, "metadata": metadata(job_type, images, **more)})


def queued(job_type: str) -> dict[str, Any]:
    """The fields of queue-job's answer that the screen reads."""
    kind = "video" if job_type.startswith("video") else "image"
    return {
        "success": True, "queueLength": int, "modelVariant": "lustify_sdxl" if sdxl(job_type) else "wan_2_1_1_3b",
        "isSDXL": sdxl(job_type), "queue": "sdxl_queue" if sdxl(job_type) else "wan_queue", "jobType": job_type,
        "job": {"id": str, "user_id": "$user.id", "job_type": job_type, "status": "queued", "format": kind,
                "quality": "high" if high(job_type) else "fast", "model_type": job_type, "metadata": {"prompt": PROMPT}},
    }  # fmt: skip


def image_row(job_type: str, job: str, index: int | None = None) -> dict[str, Any]:
    """The row that the screen writes for each expected image; for non-SDXL jobs a single row without an index."""
    kind = {"model_type": "sdxl" if sdxl(job_type) else "wan", "is_sdxl": sdxl(job_type), "bucket": job_type, "job_format": job_type,
            "generation_timestamp": BEFORE}  # fmt: skip
    row = {"user_id": "$user.id", "prompt": PROMPT, "generation_mode": "standalone", "status": "queued", "format": "png",
           "quality": "high" if high(job_type) else "fast", "job_id": job, "metadata": kind}  # fmt: skip
    return row if index is None else row | {"image_index": index}


def video_row(job_type: str) -> dict[str, Any]:
    return {"user_id": "$user.id", "status": "queued", "format": "mp4", "resolution": "1280x720" if high(job_type) else "832x480"}


def insert(table: str, row: dict[str, Any]) -> Call:
    return from_(table).insert(row).select("*").single()


def usage(job_type: str, job: str) -> Call:
    kind = "video" if job_type.startswith("video") else "image"
    row = {"user_id": "$user.id", "action": job_type, "credits_consumed": credits(job_type), "format": kind,
           "quality": "high" if high(job_type) else "fast", "metadata": {"job_id": job, "model_type": job_type}}  # fmt: skip
    return from_("usage_logs").insert(row)


def poll(job: str) -> Call:
    return from_("jobs").select("*").eq("id", job).single()


# The exact select strings of the workspace and the library.
WORKSPACE = "*,project:projects(title)"
WORKSPACE_JOBS = "image_id,video_id,quality,job_type,model_type,metadata"
DELETE_IMAGE = "image_url,image_urls,quality,metadata,jobs!jobs_image_id_fkey(quality,job_type,model_type)"
DELETE_VIDEO = "video_url,thumbnail_url,jobs!jobs_video_id_fkey(quality,job_type)"
LIBRARY_IMAGES = "id,title,prompt,image_url,thumbnail_url,status,quality,format,created_at,metadata,job_id"
LIBRARY_VIDEOS = "id,title,video_url,thumbnail_url,status,format,created_at,metadata"
LIBRARY_2_IMAGES = "id,prompt,status,quality,format,created_at,image_url,image_urls,metadata"
LIBRARY_2_VIDEOS = "id,status,format,created_at,video_url,thumbnail_url,metadata"
NEWEST = {"ascending": False}


def newest(table: str, columns: str) -> Call:
    return from_(table).select(columns).eq("user_id", "$user.id").order("created_at", NEWEST)
