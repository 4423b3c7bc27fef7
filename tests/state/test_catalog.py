"""The catalog: valid requests, and the texts of refusals."""

from __future__ import annotations

import pytest

from state import catalog, policy
from state.catalog import JOB_TYPES, check_text
from state.errors import InvalidJob


def test_the_twelve_job_types_match_the_product() -> None:
    assert len(JOB_TYPES) == 12
    fast, high = JOB_TYPES["sdxl_image_fast"], JOB_TYPES["video7b_high_enhanced"]
    assert (fast.steps, fast.guidance, fast.sizes[0], fast.bucket_mb, fast.price) == (15, 6.0, (1024, 1024), 5, 1)
    assert (high.steps, high.guidance, high.frames, high.enhance, high.bucket_mb, high.time_limit) == (50, 8.0, 81, True, 100, 900)


def test_batch_seeds_are_consecutive_and_wrap() -> None:
    settings = catalog.Settings(15, 6.0, 1024, 1024, seed=2**32 - 2, images=6)
    assert settings.seeds == (2**32 - 2, 2**32 - 1, 0, 1, 2, 3)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [("", "empty"), ("  \n ", "empty"), ("x" * 4001, "4,001"), (None, "text"), (7, "text"), ("a\x00b", "NUL"), ("\ud800", "surrogate")],
)
def test_invalid_prompts_are_refused(prompt: object, says: str) -> None:
    with pytest.raises(InvalidJob, match=says) as refusal:
        check_text(prompt)
    assert refusal.value.field == "prompt"


def test_texts_are_trimmed_and_the_negative_prompt_is_optional() -> None:
    assert check_text("  a cat ", "") == ("a cat", None)
    with pytest.raises(InvalidJob, match="negative_prompt"):
        check_text("a cat", "x" * 2001)


def test_every_bucket_accepts_its_job_types_output() -> None:
    for kind in JOB_TYPES.values():
        bucket = catalog.BUCKETS[kind.name]
        assert kind.media_type in bucket.media_types
        assert bucket.max_bytes == kind.bucket_mb * 1_000_000
    assert catalog.BUCKETS["system-assets"].public and not catalog.BUCKETS["videos-final"].public


def test_lanes_are_the_models_a_job_needs() -> None:
    sdxl, wan = JOB_TYPES["sdxl_img2img"], JOB_TYPES["video_fast"]
    assert catalog.lane_of(sdxl, {"init": "b/p"}) == "sdxl"
    assert catalog.lane_of(sdxl, {"init": "b/p", "style": "b/q"}) == "sdxl_ip"
    assert catalog.lane_of(wan, {}) == "wan"
    assert catalog.lane_of(wan, {"last_frame": "b/p"}) == "wan_vace"


def test_backoff_grows_to_its_maximum() -> None:
    assert [policy.backoff(n) for n in (1, 2, 3, 4, 9)] == [10, 40, 160, 600, 600]
    assert [policy.crash_delay(n) for n in (1, 2, 3)] == [0, 10, 40]


def test_priority_orders_by_plan_then_fast() -> None:
    order = [policy.priority(plan, fast=fast) for plan in ("premium", "pro", "starter", "free") for fast in (True, False)]
    assert order == [7, 6, 5, 4, 3, 2, 1, 0]
