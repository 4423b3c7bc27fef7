"""Every field of the wire message missing, of the wrong type, out of range, unknown, enormous, or no text: a clear refusal, by name, that
repeats nothing of what came."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pushing import message

from ourvidz.intake.message import MAX_BYTES, Message, RefusedMessage, read

USER = str(uuid.uuid4())
REQUIRED = ("id", "type", "prompt", "config", "user_id")
SECRET = "xylophone"


def refused(one: Any, queue: str = "sdxl_queue") -> RefusedMessage:
    raw = one if isinstance(one, bytes) else json.dumps(one).encode()
    with pytest.raises(RefusedMessage) as caught:
        read(raw, queue)
    return caught.value


@pytest.mark.parametrize("field", REQUIRED)
def test_missing(field: str) -> None:
    one = message(USER)
    del one[field]
    assert refused(one).field == field


@pytest.mark.parametrize("field", [name for name in Message.model_fields if name != "config"])
@pytest.mark.parametrize("value", [5, ["a"], {"a": 1}, True], ids=["number", "list", "object", "flag"])
def test_wrong_type(field: str, value: object) -> None:
    if (field, type(value)) in (("metadata", dict), ("compel_enabled", bool)):
        return
    found = refused(message(USER) | {field: value})
    assert found.reason == "bad_field" and found.field.partition(".")[0] == field


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"num_inference_steps": 0}, "steps"), ({"num_inference_steps": 61}, "steps"), ({"num_inference_steps": "25"}, "steps"),
        ({"num_inference_steps": 25.5}, "steps"), ({"num_inference_steps": True}, "steps"), ({"guidance_scale": 0.9}, "guidance"),
       
        ({"guidance_scale": 15.1}, "guidance"), ({"guidance_scale": [7]}, "guidance"), ({"width": 999}, "width"),
        ({"size": "1024"}, "size"),
        ({"size": 1024}, "size"), ({"num_images": 2}, "images"), ({"seed": -1}, "seed"), ({"seed": 2**32}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"scheduler": "Magic"}, "scheduler"), ({"reference_image_url": "ftp://a/b"}, "references"),
        ({"reference_image_url": 5}, "references"),
        ({"reference_image_url": "a/b", "reference_type": "mood"}, "reference_type"),
        ({"reference_image_url": "a/b", "reference_strength": 1.1}, "reference_strength"), ({"frame_num": 9}, "frames"),
        ({"beauty": 1}, "config.beauty"), ({"sample_shift": 5.0}, "shift"),
    ],
)  # fmt: skip
def test_out_of_range(config: dict[str, Any], field: str) -> None:
    assert refused(message(USER) | {"config": config}).field == field


@pytest.mark.parametrize(
    ("one", "field"),
    [
        ({"beauty": 1}, "beauty"), ({"id": "5"}, "id"), ({"user_id": ""}, "user_id"), ({"type": "poster"}, "job_type"),
        ({"type": "video_fast"}, "type"),
        ({"bucket": "video_fast"}, "bucket"), ({"model_variant": "sd15"}, "model_variant"), ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": "x" * 4001}, "prompt"), ({"negative_prompt": "x" * 2001}, "negative_prompt"), ({"prompt": "a\0b"}, "prompt"),
        ({"metadata": {"note": "a\0b"}}, "metadata"), ({"metadata": {"a\0b": 1}}, "metadata"),
    ],
)  # fmt: skip
def test_what_else_is_wrong(one: dict[str, Any], field: str) -> None:
    assert refused(message(USER) | one).field == field


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"null", b"[]", b"5", b"{", b"\xff\xfe{}", b"\x00", b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000, json.dumps(message(USER) | {"prompt": "\ud800"}).encode(),
        json.dumps(message(USER) | {"metadata": {"a": float("inf")}}).encode(), json.dumps(message(USER))[:-1].encode(),
    ],
    ids=range(13),
)  # fmt: skip
def test_no_message_at_all(raw: bytes) -> None:
    assert refused(raw).reason in ("no_json", "bad_field", "OV009")


def test_depth_and_size() -> None:
    deep = json.dumps(message(USER))[:-1] + ',"metadata":{"a":' + "[" * 10_000 + "]" * 10_000 + "}}"
    assert refused(deep.encode().replace(b'"metadata": {}, ', b"")).reason in ("no_json", "bad_field")
    assert refused(message(USER) | {"prompt": "x" * 2**20}).reason == "too_large"
    assert refused(b" " * (MAX_BYTES + 1)).reason == "too_large"


def test_a_refusal_repeats_nothing_that_a_person_wrote() -> None:
    for one in (
        {"prompt": [SECRET]},
        {"prompt": SECRET * 500},
        {"metadata": {SECRET: "a\0"}},
        {"negative_prompt": SECRET * 300},
        {"id": SECRET},
    ):
        found = refused(message(USER) | one)
        assert SECRET not in found.detail and SECRET not in found.field
    assert SECRET not in refused(f'{{"prompt": "{SECRET}"'.encode()).detail


@given(st.binary(max_size=400))
def test_whatever_comes_is_read_or_refused(raw: bytes) -> None:
    with pytest.raises(RefusedMessage):
        read(raw, "sdxl_queue")


@given(
    st.dictionaries(
        st.sampled_from([*Message.model_fields, "more"]),
        st.none() | st.booleans() | st.floats() | st.text(max_size=9),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_a_field_holds_is_read_or_refused(change: dict[str, Any]) -> None:
    try:
        read(json.dumps(message(USER) | change).encode(), "sdxl_queue")
    except RefusedMessage as refusal:
        assert refusal.reason and refusal.detail
