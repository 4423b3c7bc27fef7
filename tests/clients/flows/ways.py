"""Other ways to submit, and their results: the deployed queue-job's plain INSERT and Redis message, rpc, cancel, failure, the deployed
callback, and the prompt dialog."""

from __future__ import annotations

from typing import Any

from ..actions import drained, make, make_badly, pushed, started
from ..calls import Call, from_, function, rpc
from ..table import SOMETHING, Do, Flow, Row
from .wire import PROMPT, high, image_row, insert, metadata, poll, queue, sdxl

STEPS = {False: (25, 6.5), True: (50, 7.5)}


def deployed_metadata(job_type: str, images: int = 1, **more: Any) -> dict[str, Any]:
    """The front end's metadata as rewritten by the deployed queue-job: Wan's settings for all types."""
    steps, guidance = STEPS[high(job_type)]
    made = {
        "dual_worker_routing": True, "negative_prompt_supported": sdxl(job_type), "prompt_length": len(PROMPT), "prompt_word_count": 7,
        "generation_timestamp": "2025-07-07T12:00:00.000Z", "edge_function_version": "2.1.0", "expected_generation_time": 25,
        "sample_steps": steps, "sample_guide_scale": guidance, "sample_solver": "unipc", "sample_shift": 5.0, "content_type": "image",
        "file_extension": "png", "user_id": "$user.id", "character_id": None,
    }  # fmt: skip
    if sdxl(job_type):
        made |= {"negative_prompt": "blurry, low quality", "negative_prompt_generation_error": None}
    return metadata(job_type, images, **made, **more)


def deployed_row(job_type: str, images: int = 1, **more: Any) -> Call:
    kind = "video" if job_type.startswith("video") else "image"
    row = {"user_id": "$user.id", "job_type": job_type, "format": kind, "quality": "high" if high(job_type) else "fast",
           "model_type": job_type, "metadata": deployed_metadata(job_type, images, **more), "status": "queued"}  # fmt: skip
    return insert("jobs", row)


def message(job_type: str, job: str, images: int = 1, **more: Any) -> dict[str, Any]:
    """The message that the deployed queue-job pushes afterwards (CLIENTS.md §3)."""
    steps, guidance = STEPS[high(job_type)]
    video = job_type.startswith("video")
    config = {
        "size": "480*832", "sample_steps": steps, "sample_guide_scale": guidance, "sample_solver": "unipc", "sample_shift": 5.0,
        "frame_num": 83 if video else 1, "enhance_prompt": "enhanced" in job_type, "expected_time": 25, "num_images": images,
        "content_type": "video" if video else "image", "file_extension": "mp4" if video else "png", **more,
    }  # fmt: skip
    return {
        "id": job, "type": job_type, "prompt": PROMPT, "config": config, "user_id": "$user.id", "created_at": "2025-07-07T12:00:00.000Z",
        "character_id": None, "model_variant": "lustify_sdxl" if sdxl(job_type) else "wan_2_1_1_3b", "bucket": job_type,
        "metadata": deployed_metadata(job_type, images),
        **({"negative_prompt": "blurry, low quality"} if sdxl(job_type) else {}),
    }  # fmt: skip


def older_way(job_type: str, images: int, line: str, made: int) -> Flow:
    """The flow of the deployed edge function, for a project that has not deployed ours yet."""
    return Flow(f"older way, {job_type} × {images}", (
        Row(f"INSERT jobs: {job_type} × {images}", "user", deployed_row(job_type, images),
            {"id": str, "status": "queued", "job_type": job_type, "format": SOMETHING, "quality": SOMETHING, "model_type": job_type,
             "metadata": {"prompt": PROMPT}}, saves="job", line=line),
        Do(f"Redis message: {job_type} × {images}", pushed, (message(job_type, "$job.id", images),)),
        Do(f"Redis message drained: {job_type} × {images}", drained, ({"joined": 1},), line="Redis, sdxl", listed=True),
        Row(f"INSERT jobs: images row, {job_type}", "user", insert("images", image_row(job_type, "$job.id", 0 if sdxl(job_type) else None)),
            saves="image"),
        Do("an executor makes it", make, ("$job.id",)),
        Row(f"INSERT jobs: made, {job_type} × {images}", "user", poll("$job.id"), {"status": "completed"}, until=True,
            then={"one job": "select count(*) = 1 from public.jobs where id = '${job.id}'",
                  "as many pictures as asked for": f"select count(*) = {made} from public.artifacts where job_id = '${{job.id}}'"
                                                   " and kind = 'image'"}),
        Row(f"INSERT jobs: its tile, {job_type}", "user", from_("images").select("*").eq("id", "$image.id").single(),
            {"status": "completed", "image_url": SOMETHING, "metadata": {"bucket": job_type}}, line="images after the end"),
    ))  # fmt: skip


OTHERS = Flow("other ways", (
    Row("rpc queue_job", "user", rpc("queue_job", job_type="sdxl_image_high", prompt=PROMPT), {"job_id": str}, saves="asked"),
    Row("rpc: what the row says", "user", poll("$asked.job_id"),
        {"format": "image", "quality": "high", "model_type": "sdxl_image_high", "metadata": {"prompt": PROMPT}}, line="jobs by rpc"),
    Row("PATCH jobs {status}: cancel", "user", from_("jobs").update({"status": "cancelled"}).eq("id", "$asked.job_id"),
        then={"it is cancelled": "select status = 'cancelled' from public.jobs where id = '${asked.job_id}'"},
        line="DELETE jobs, PATCH {status}"),
    Row("PATCH jobs {status}: any other word", "user", from_("jobs").update({"status": "completed"}).eq("id", "$asked.job_id"),
        refused=SOMETHING,
        then={"nothing came of it": "select status = 'cancelled' from public.jobs where id = '${asked.job_id}'"}),
    Row("cancel at work: queue-job", "user", queue("video_fast"), saves="filmed"),
    Do("an executor is at it", started, ("$filmed.job.id",)),
    Row("cancel at work: PATCH", "user", from_("jobs").update({"status": "cancelled"}).eq("id", "$filmed.job.id"),
        then={"the executor is told": "select cancel_requested from public.jobs where id = '${filmed.job.id}'"}),
    Row("failure: queue-job", "user", queue("sdxl_image_fast", 3), saves="bad"),
    Row("failure: images row 0", "user", insert("images", image_row("sdxl_image_fast", "$bad.job.id", 0)), saves="first"),
    Row("failure: images row 1", "user", insert("images", image_row("sdxl_image_fast", "$bad.job.id", 1)), saves="second"),
    Do("an executor fails at it", make_badly, ("$bad.job.id",)),
    Row("failure: poll", "user", poll("$bad.job.id"), {"status": "failed", "error_message": SOMETHING}, until=True),
    Row("failure: every row of it", "user", from_("images").select("status").eq("job_id", "$bad.job.id"),
        [{"status": "failed"}, {"status": "failed"}], line="images after the end"),
    Row("queue-job: no such type", "user", function("queue-job", {"jobType": "opera", "metadata": {"prompt": PROMPT}}), refused=400),
    Row("queue-job: not signed in", "anon", queue("sdxl_image_fast"), refused=401),
    # The deployed callback's own writes with the service key: its metadata is taken, its status is ignored.
    Row("deployed callback: PATCH jobs", "service",
        from_("jobs").update({"status": "completed", "completed_at": "2025-07-07T12:00:00Z", "metadata": {"prompt": PROMPT, "seed": 5}})
        .eq("id", "$bad.job.id"),
        then={"its status is not believed": "select status = 'failed' from public.jobs where id = '${bad.job.id}'"}),
    Row("enhance-prompt", "user", function("enhance-prompt", {"prompt": "a lighthouse", "jobType": "image7b_fast_enhanced",
                                                              "format": "image", "quality": "fast"}),
        {"success": True, "original_prompt": "a lighthouse", "enhanced_prompt": SOMETHING,
         "enhancement_metadata": {"original_length": 12, "enhanced_length": int, "expansion_percentage": SOMETHING,
                                  "enhancement_strategy": SOMETHING}}, line="enhance-prompt"),
    Row("job_types()", "anon", rpc("job_types"), SOMETHING),
))  # fmt: skip

FLOWS = (
    older_way("sdxl_image_high", 6, "INSERT jobs, sdxl", 6),
    older_way("sdxl_image_fast", 3, "INSERT jobs, sdxl", 3),
    older_way("image7b_high_enhanced", 3, "image7b, num_images 3/6", 1),
    OTHERS,
)
