"""What may be asked for, and how a refusal reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state import catalog, policy
from state.catalog import JOB_TYPES, check_text, resolve
from state.errors import InvalidJob

INIT = {"references": {"init": "character-images/u/a.png"}}


def needed(name: str) -> dict[str, Any]:
    return dict(INIT) if JOB_TYPES[name].init_image else {}


def test_the_twelve_types_are_the_products() -> None:
    assert len(JOB_TYPES) == 12
    fast, high = JOB_TYPES["sdxl_image_fast"], JOB_TYPES["video7b_high_enhanced"]
    assert (fast.steps, fast.guidance, fast.sizes[0], fast.bucket_mb, fast.price) == (15, 6.0, (1024, 1024), 5, 1)
    assert (high.steps, high.guidance, high.frames, high.enhance, high.bucket_mb, high.time_limit) == (50, 8.0, 81, True, 100, 900)


@pytest.mark.parametrize("name", JOB_TYPES)
def test_defaults_are_complete_and_allowed(name: str) -> None:
    settings = resolve(name, needed(name))
    again = resolve(name, {k: v for k, v in settings.as_dict().items() if k != "frames_asked"})
    assert again == settings


@pytest.mark.parametrize(
    ("name", "asked", "field", "says"),
    [
        ("sdxl_image_fast", {"steps": 61}, "steps", "from 1 to 60"),
        ("image_fast", {"steps": 81}, "steps", "from 1 to 80"),
        ("sdxl_image_fast", {"steps": 0}, "steps", "from 1"),
        ("sdxl_image_fast", {"steps": True}, "steps", "whole number"),
        ("sdxl_image_fast", {"steps": 15.5}, "steps", "whole number"),
        ("sdxl_image_fast", {"guidance": 0.5}, "guidance", "from 1 to 15"),
        ("sdxl_image_fast", {"guidance": float("nan")}, "guidance", "nan"),
        ("sdxl_image_fast", {"guidance": float("inf")}, "guidance", "inf"),
        ("sdxl_image_fast", {"images": 2}, "images", "1, 3, 6"),
        ("image_fast", {"images": 3}, "images", "one of 1"),
        ("sdxl_image_fast", {"width": 1280, "height": 1280}, "width", "1024×1024"),
        ("sdxl_image_fast", {"width": 1024}, "width", "1024×None"),
        ("video_fast", {"width": 512, "height": 512}, "width", "480×832, 832×480"),
        ("video_fast", {"frames": 41}, "frames", "81 frames"),
        ("sdxl_image_fast", {"seed": 2**32}, "seed", "4294967295"),
        ("sdxl_image_fast", {"seed": -1}, "seed", "from 0"),
        ("sdxl_img2img", INIT | {"strength": 0.05}, "strength", "0.1 to 1"),
        ("sdxl_img2img", INIT | {"strength": 0.1, "steps": 5}, "steps", "nothing would be drawn"),
        ("sdxl_image_fast", {"strength": 0.5}, "strength", "only sdxl_img2img"),
        ("sdxl_img2img", {}, "references", "needs an init image"),
        ("image_fast", {"references": {"first_frame": "b/p"}}, "references", "one frame"),
        ("video_fast", {"references": {"single": "b/p", "last_frame": "b/q"}}, "references", "not both"),
        ("video_fast", {"references": {"init": "b/p"}}, "references", "no reference"),
        ("video_fast", {"references": {"single": "nowhere"}}, "references", "bucket/path"),
        ("video_fast", {"sampler": "ddim"}, "sampler", "unipc"),
        ("video_fast", {"scheduler": "EulerDiscreteScheduler"}, "scheduler", "Wan"),
        ("sdxl_image_fast", {"shift": 5.0}, "shift", "SDXL"),
        ("sdxl_image_fast", {"colour": "red"}, "colour", "no setting"),
        ("sdxl_image_huge", {}, "job_type", "no job type"),
    ],
)
def test_refusals_name_the_field_and_what_is_allowed(name: str, asked: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidJob, match=says) as refusal:
        resolve(name, asked)
    assert refusal.value.field == field


def test_83_frames_are_81_and_both_are_kept() -> None:
    settings = resolve("video_fast", {"frames": 83})
    assert (settings.frames, settings.frames_asked) == (81, 83)


def test_a_batch_of_six_has_six_seeds_that_wrap() -> None:
    assert resolve("sdxl_image_fast", {"images": 6, "seed": 2**32 - 2}).seeds == (2**32 - 2, 2**32 - 1, 0, 1, 2, 3)


@given(
    st.dictionaries(st.sampled_from([*catalog.Settings.__dataclass_fields__, "x"]), st.from_type(object), max_size=5),
    st.sampled_from([*JOB_TYPES]),
)
def test_whatever_is_asked_the_answer_is_settings_or_a_refusal(asked: dict[str, Any], name: str) -> None:
    try:
        settings = resolve(name, asked)
    except InvalidJob as refusal:
        assert refusal.field and len(str(refusal)) < 400
    else:
        kind = JOB_TYPES[name]
        assert 1 <= settings.steps <= kind.steps_max
        assert (settings.width, settings.height) in kind.sizes


@pytest.mark.parametrize(
    ("prompt", "says"),
    [("", "empty"), ("  \n ", "empty"), ("x" * 4001, "4,001"), (None, "text"), (7, "text"), ("a\x00b", "NUL"), ("\ud800", "surrogate")],
)
def test_texts_that_are_none(prompt: object, says: str) -> None:
    with pytest.raises(InvalidJob, match=says) as refusal:
        check_text(prompt)
    assert refusal.value.field == "prompt"


def test_texts_are_trimmed_and_a_negative_may_be_absent() -> None:
    assert check_text("  a cat ", "") == ("a cat", None)
    with pytest.raises(InvalidJob, match="negative_prompt"):
        check_text("a cat", "x" * 2001)


def test_every_bucket_takes_its_own_output() -> None:
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


def test_backoff_grows_to_its_ceiling() -> None:
    assert [policy.backoff(n) for n in (1, 2, 3, 4, 9)] == [10, 40, 160, 600, 600]
    assert [policy.crash_delay(n) for n in (1, 2, 3)] == [0, 10, 40]


def test_priority_is_the_plan_first_then_fast() -> None:
    order = [policy.priority(plan, fast=fast) for plan in ("premium", "pro", "starter", "free") for fast in (True, False)]
    assert order == [7, 6, 5, 4, 3, 2, 1, 0]
