"""Redis messages as the deployed edge function sends them, for tests."""

from __future__ import annotations

import json
import uuid
from typing import Any

from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace


def message(user: str, job_type: str = "sdxl_image_fast", **more: Any) -> dict[str, Any]:
    sdxl = job_type.startswith("sdxl")
    config = {"num_inference_steps": 25, "guidance_scale": 7.5} if sdxl else {"size": "480*832", "sample_steps": 25, "frame_num": 83}
    if job_type.startswith("image"):
        config["frame_num"] = 1
    return {
        "id": str(uuid.uuid4()),
        "type": job_type,
        "prompt": "a lighthouse at dusk",
        "config": config | {"content_type": "image/png", "file_extension": "png"},
        "user_id": user,
        "created_at": "2025-07-07T12:00:00Z",
        "model_variant": "lustify_sdxl" if sdxl else "wan_2_1_1_3b",
        "bucket": job_type,
        "metadata": {},
        **more,
    }


def push(upstash: UpstashFace, *messages: dict[str, Any] | bytes, queue: str = "") -> None:
    for one in messages:
        raw = one if isinstance(one, bytes) else json.dumps(one).encode()
        where = queue or ("sdxl_queue" if isinstance(one, bytes) or str(one.get("type", "sdxl")).startswith("sdxl") else "wan_queue")
        upstash.valkey.call("LPUSH", where, raw)


def lengths(upstash: UpstashFace, queue: str = "sdxl_queue") -> tuple[int, int, int]:
    """Lengths of the queue, its processing list, and its dead letters."""
    return tuple(int(upstash.valkey.call("LLEN", key)) for key in (queue, f"{queue}:processing", f"{queue}:dead"))  # type: ignore[return-value]


def made(db: Database) -> list[str]:
    return [str(r["id"]) for r in db.rows("select id from public.jobs order by created_at, id")]


def counted(db: Database) -> dict[str, int]:
    return {r["outcome"]: int(r["n"]) for r in db.rows("select outcome, sum(n) as n from ourvidz.intake_counts group by outcome")}
