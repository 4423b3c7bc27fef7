"""Hand jobs back to the legacy system's workers as Redis messages, in the format of the deployed queue-job (CLIENTS.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ourvidz.intake import lists
from ourvidz.intake.drain import processing
from ourvidz.intake.message import LEGACY_QUEUE, QUEUES
from ourvidz.intake.sharing import waiting
from ourvidz.intake.upstash import Upstash


def give_back(redis: Upstash, jobs: Sequence[Mapping[str, Any]]) -> int:
    """Push a message for each job that has none in Redis, oldest first; messages taken but not yet committed go back before them.
    Returns how many were pushed. Safe to repeat."""
    for queue in QUEUES:
        lists.take(redis, processing(queue), queue, [raw for raw in reversed(waiting(redis, processing(queue))) if text(raw)], "RPUSH")
    there = ids(redis)
    given = [job for job in jobs if str(job["id"]) not in there]
    if given:
        for job in given:  # one per request: a message with its metadata may be as large as Upstash allows
            redis.pipeline([("LPUSH", str(job["queue"]), json.dumps(message(job)))])
    return len(given)


def message(job: Mapping[str, Any]) -> dict[str, Any]:
    """The message for `job`, a row of `waiting.sql`. Its metadata is what the front end sent, so it has all that a legacy worker reads."""
    settings, metadata, video = job["settings"], job["metadata"] or {}, str(job["type"]).startswith("video")
    config = {
        "size": f"{settings.get('width', 480)}*{settings.get('height', 832)}",
        "sample_steps": settings.get("steps"),
        "sample_guide_scale": settings.get("guidance"),
        "sample_solver": "unipc",
        "sample_shift": 5.0,
        "frame_num": 83 if video else 1,
        "enhance_prompt": "enhanced" in str(job["type"]),
        "num_images": settings.get("images", 1),
        "seed": settings.get("seed"),
        "content_type": "video" if video else "image",
        "file_extension": "mp4" if video else "png",
    }
    found = {
        "id": job["id"], "type": job["type"], "prompt": job["prompt"], "config": config, "user_id": job["user_id"],
        "created_at": job["created_at"].isoformat(), "negative_prompt": job["negative_prompt"], "video_id": job["video_id"],
        "image_id": job["image_id"], "character_id": None, "bucket": job["type"], "metadata": {"prompt": job["prompt"], **metadata},
        "model_variant": "lustify_sdxl" if job["queue"] == "sdxl_queue" else "wan_2_1_1_3b",
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None or name == "character_id"}


def ids(redis: Upstash) -> set[str]:
    """Ids of the jobs that have a message in a queue or in a processing list."""
    found = (_id(raw) for queue in (*QUEUES, LEGACY_QUEUE) for key in (queue, processing(queue)) for raw in waiting(redis, key))
    return {job for job in found if job is not None}


def _id(raw: bytes) -> str | None:
    try:
        return str(json.loads(raw)["id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def text(raw: bytes) -> bool:
    """Return True if a message is UTF-8, as all that an intake accepts; others stay, for `ourvidz intake dead`."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
