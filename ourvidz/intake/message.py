"""Parse a Redis message: its size, JSON, and field types. The request in it is validated by the database (`ourvidz.intake`), as for every
other way in.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ourvidz.intake.lists import MAX_BYTES
from state import catalog
from state.errors import InvalidJob

QUEUES = ("sdxl_queue", "wan_queue")
LEGACY_QUEUE = "job_queue"
_MODELS = Literal["lustify_sdxl", "wan_2_1_1_3b"]
_Id = Annotated[UUID, Field(strict=False)]  # a uuid comes as text
_Small = Annotated[str, StringConstraints(max_length=200)]


class RefusedMessage(Exception):
    """The message cannot become a job. `reason` is from a fixed list, `field` names the bad field; neither contains user text."""

    def __init__(self, reason: str, detail: str, field: str = "", message_id: str | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.field, self.message_id = reason, detail, field, message_id


def _named(name: str, older: str, **more: Any) -> Any:
    return Field(validation_alias=AliasChoices(name, older), **more)


class Message(BaseModel):
    """A message of the deployed edge function, or of June 2025's, which pushes to `LEGACY_QUEUE` under the second field names."""

    model_config = ConfigDict(strict=True, extra="forbid")

    id: _Id = _named("id", "jobId")
    type: _Small = _named("type", "jobType")
    prompt: Annotated[str, StringConstraints(max_length=catalog.PROMPT_MAX)]
    config: dict[_Small, Any] = Field(default_factory=dict)
    user_id: _Id = _named("user_id", "userId")
    created_at: _Small | None = None
    negative_prompt: Annotated[str, StringConstraints(max_length=catalog.NEGATIVE_MAX)] | None = None
    compel_enabled: bool | None = None
    compel_weights: Annotated[str, StringConstraints(max_length=catalog.PROMPT_MAX)] | None = None
    project_id: _Id | None = _named("project_id", "projectId", default=None)
    video_id: _Id | None = _named("video_id", "videoId", default=None)
    image_id: _Id | None = _named("image_id", "imageId", default=None)
    character_id: _Id | None = _named("character_id", "characterId", default=None)
    model_variant: _MODELS | None = None
    bucket: _Small | None = None
    metadata: dict[_Small, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """A parsed message: `raw` bytes as in Redis, and `asked`, the argument for the database (`ourvidz.intake`)."""

    raw: bytes
    id: str
    asked: dict[str, Any]


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def read(raw: bytes) -> Taken:
    """Parse a message. Raises `RefusedMessage`."""
    if len(raw) > MAX_BYTES:
        raise RefusedMessage("too_large", f"The message has {len(raw):,} bytes; at most {MAX_BYTES:,} are taken.")
    try:
        message = Message.model_validate_json(raw)
    except ValidationError as error:
        raise _refusal(error) from None  # its own text quotes the input
    try:
        return Taken(raw, str(message.id), {"message": _storable(message), "digest": digest(raw)})
    except InvalidJob as refused:
        raise RefusedMessage("OV009", str(refused), refused.field, str(message.id)) from None


def _storable(message: Message) -> dict[str, Any]:
    """The message's fields as JSON values. Raises `InvalidJob` for NUL, infinity and NaN, which Postgres's jsonb cannot hold."""
    catalog.check_text(message.prompt, message.negative_prompt)
    told = {name: value for name in Message.model_fields if (value := getattr(message, name)) is not None}
    told |= {name: str(value) for name, value in told.items() if isinstance(value, UUID)}
    for name, value in told.items():
        try:
            text = json.dumps(value, allow_nan=False)
        except ValueError:
            raise InvalidJob(f"{name} holds a number that is none (infinity, NaN).", field=name) from None
        if "\\u0000" in text:
            raise InvalidJob(f"{name} holds a NUL character.", field=name)
    return told


def _refusal(error: ValidationError) -> RefusedMessage:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part)[:40] for part in first["loc"])[:80]
    if first["type"] == "json_invalid":
        return RefusedMessage("no_json", "The message is no JSON that we can read.")
    return RefusedMessage("bad_field", f"{field or 'The message'}: {first['msg'][:200].rstrip('.')}.", field)
