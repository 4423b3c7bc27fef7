"""Rows and messages as OurVidz's deployed queue-job (July 2025) writes them, for each of its ten job types."""

from __future__ import annotations

from typing import Any

from state.catalog import JOB_TYPES

LATER = ("sdxl_image_premium", "sdxl_img2img")  # types that the deployed system lacks


def deployed_types() -> list[str]:
    return [name for name in JOB_TYPES if name not in LATER]


def deployed_row(user: str, job_type: str, references: str = "") -> dict[str, Any]:
    """`references`: "image" for a picture as the front end sends it with images, "video" for both ends of a video, "" for none."""
    sdxl, enhanced = job_type.startswith("sdxl"), "7b" in job_type
    video, high = job_type.startswith("video"), "high" in job_type
    signed = f"https://abc.supabase.co/storage/v1/object/sign/image_fast/{user}/{{}}.png?token=eyJhbGciOi"
    asked: dict[str, Any] = {
        "model_variant": "lustify_sdxl" if sdxl else "wan_2_1_1_3b", "num_images": 3 if sdxl or enhanced else 1, "credits": 2,
        "model_type": "sdxl" if sdxl else "wan", "is_sdxl": sdxl, "prompt": "a lighthouse", "queue": "sdxl_queue" if sdxl else "wan_queue",
        "bucket": job_type, "generation_format": job_type, "enhanced_tracking": True, "client_timestamp": "2025-07-07T12:00:00Z",
        "batch_count": 1, "seed": 7,
    }  # fmt: skip
    if references:
        asked |= {"reference_image": True, "reference_strength": 0.85, "reference_type": "character"}
    if references == "image":
        asked |= {"reference_url": signed.format("a"), "reference_image_url": signed.format("a"), "reference_source": "workspace"}
    elif references == "video":
        asked |= {
            "start_reference_url": signed.format("a"),
            "end_reference_url": signed.format("b"),
            "reference_image_url": signed.format("a"),
        }
    metadata = asked | {
        "dual_worker_routing": True, "negative_prompt_supported": sdxl, "prompt_length": 12, "prompt_word_count": 2,
        "generation_timestamp": "2025-07-07T12:00:00Z", "edge_function_version": "2.1.0", "expected_generation_time": 25,
        "sample_steps": 50 if high else 25, "sample_guide_scale": 7.5 if high else 6.5, "sample_solver": "unipc", "sample_shift": 5.0,
        "content_type": "video" if video else "image", "file_extension": "mp4" if video else "png", "user_id": user, "character_id": None,
        **({"negative_prompt": "bad anatomy, fog", "negative_prompt_generation_error": None} if sdxl else {}),
    }  # fmt: skip
    return {"user_id": user, "job_type": job_type, "format": "video" if video else "image", "quality": "high" if high else "fast",
            "model_type": job_type, "metadata": metadata, "status": "queued"}  # fmt: skip


def deployed_message(row: dict[str, Any], job_id: str) -> dict[str, Any]:
    """The message pushed for a row of `deployed_row`."""
    told, sdxl = row["metadata"], row["job_type"].startswith("sdxl")
    config = {
        "size": "480*832", "sample_steps": told["sample_steps"], "sample_guide_scale": told["sample_guide_scale"], "sample_solver": "unipc",
        "sample_shift": 5.0, "frame_num": 83 if row["format"] == "video" else 1, "enhance_prompt": "7b" in row["job_type"],
        "seed": told["seed"],
        "expected_time": 25, "content_type": told["content_type"], "file_extension": told["file_extension"],
        "num_images": told["num_images"],
    }  # fmt: skip
    if told.get("reference_image"):
        config |= {"reference_strength": told["reference_strength"], "reference_type": told["reference_type"]}
        config |= {"reference_image_url": told["reference_url"]} if "reference_url" in told else {}
        if row["format"] == "video":
            ends = (("first_frame", "start_reference_url"), ("last_frame", "end_reference_url"))
            config |= {name: told[source] for name, source in ends if source in told}
    if sdxl:
        config |= {"compel_enabled": False}
    return {
        "id": job_id, "type": row["job_type"], "prompt": "a lighthouse", "config": config, "user_id": row["user_id"],
        "created_at": "2025-07-07T12:00:00Z", "character_id": None, "model_variant": told["model_variant"], "bucket": row["job_type"],
        "metadata": told, **({"negative_prompt": told["negative_prompt"]} if sdxl else {}),
    }  # fmt: skip
