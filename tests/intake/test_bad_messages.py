"""Every field of the wire message missing, of a wrong type, unknown, huge, or not text: refused with the field's name and without
repeating the content. Settings are validated by the database (tests/db/test_entry_points.py)."""

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
REQUIRED = ("id", "type", "prompt", "user_id")
SECRET = "xylophone"


def refused(one: Any) -> RefusedMessage:
    raw = one if isinstance(one, bytes) else json.dumps(one).encode()
    with pytest.raises(RefusedMessage) as caught:
        read(raw)
    return caught.value


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_refused(field: str) -> None:
    one = message(USER)
    del one[field]
    assert refused(one).field == field


@pytest.mark.parametrize("field", [name for name in Message.model_fields if name != "config"])
@pytest.mark.parametrize("value", [5, ["a"], {"a": 1}, True], ids=["number", "list", "object", "flag"])
def test_a_field_of_a_wrong_type_is_refused(field: str, value: object) -> None:
    if (field, type(value)) in (("metadata", dict), ("compel_enabled", bool)):
        return
    found = refused(message(USER) | {field: value})
    assert found.reason == "bad_field" and found.field.partition(".")[0] == field


@pytest.mark.parametrize(
    ("one", "field"),
    [
        ({"beauty": 1}, "beauty"), ({"id": "5"}, "id"), ({"user_id": ""}, "user_id"),
        ({"model_variant": "sd15"}, "model_variant"), ({"prompt": ""}, "prompt"), ({"config": [1]}, "config"), ({"config": "x"}, "config"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": "x" * 4001}, "prompt"), ({"negative_prompt": "x" * 2001}, "negative_prompt"), ({"prompt": "a\0b"}, "prompt"),
        ({"metadata": {"note": "a\0b"}}, "metadata"), ({"metadata": {"a\0b": 1}}, "metadata"),
    ],
)  # fmt: skip
def test_other_invalid_values_are_refused(one: dict[str, Any], field: str) -> None:
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
def test_bytes_that_are_no_message_are_refused(raw: bytes) -> None:
    assert refused(raw).reason in ("no_json", "bad_field", "OV009")


def test_too_deep_and_too_large_messages_are_refused() -> None:
    deep = json.dumps(message(USER))[:-1] + ',"metadata":{"a":' + "[" * 10_000 + "]" * 10_000 + "}}"
    assert refused(deep.encode().replace(b'"metadata": {}, ', b"")).reason in ("no_json", "bad_field")
    assert refused(message(USER) | {"prompt": "x" * 2**20}).reason == "too_large"
    assert refused(b" " * (MAX_BYTES + 1)).reason == "too_large"


def test_a_refusal_does_not_quote_the_message() -> None:
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
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    with pytest.raises(RefusedMessage):
        read(raw)


@given(
    st.dictionaries(
        st.sampled_from([*Message.model_fields, "more"]),
        st.none() | st.booleans() | st.floats() | st.text(max_size=9),
        min_size=1,
        max_size=4,
    )
)
def test_any_field_value_is_parsed_or_refused(change: dict[str, Any]) -> None:
    try:
        read(json.dumps(message(USER) | change).encode())
    except RefusedMessage as refusal:
        assert refusal.reason and refusal.detail
