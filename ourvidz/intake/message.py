"""The Redis message (SPEC §6), read as strictly as it can be without turning away what is deployed: every field has its type and its
bounds, and a wrong one is named. What it asks for is judged by the catalog, as for every other way in.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from state import catalog, wire
from state.errors import InvalidJob

MAX_BYTES = 256 * 1024
"""Of one message. The largest honest one, 4,000 and 2,000 characters of four bytes with a page of metadata, has a tenth of it."""

QUEUES = ("sdxl_queue", "wan_queue")
OLDER_QUEUE = "job_queue"
_MODELS = Literal["lustify_sdxl", "wan_2_1_1_3b"]
_Id = Annotated[UUID, Field(strict=False)]  # a uuid comes as text
_Small = Annotated[str, StringConstraints(max_length=200)]


class RefusedMessage(Exception):
    """The message makes no job. `reason` is a word from a list, `field` names what is wrong; neither holds what a person wrote."""

    def __init__(self, reason: str, detail: str, field: str = "", message_id: str | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.field, self.message_id = reason, detail, field, message_id


class Message(BaseModel):
    """As the deployed edge function sends it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    id: _Id
    type: _Small
    prompt: Annotated[str, StringConstraints(max_length=catalog.PROMPT_MAX)]
    config: dict[_Small, Any]
    user_id: _Id
    created_at: _Small | None = None
    negative_prompt: Annotated[str, StringConstraints(max_length=catalog.NEGATIVE_MAX)] | None = None
    compel_enabled: bool | None = None
    compel_weights: Annotated[str, StringConstraints(max_length=catalog.PROMPT_MAX)] | None = None
    project_id: _Id | None = None
    video_id: _Id | None = None
    image_id: _Id | None = None
    character_id: _Id | None = None
    model_variant: _MODELS | None = None
    bucket: _Small | None = None
    metadata: dict[_Small, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """A message as the database takes it (`ourvidz.intake`), beside the bytes that lie in Redis."""

    raw: bytes
    asked: dict[str, Any]


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def read(raw: bytes, queue: str) -> Taken:
    """What the message asks for. Raises `RefusedMessage`."""
    if len(raw) > MAX_BYTES:
        raise RefusedMessage("too_large", f"The message has {len(raw):,} bytes; at most {MAX_BYTES:,} are taken.")
    try:
        message = Message.model_validate_json(raw)
    except ValidationError as error:
        raise _refusal(error) from None  # its own text quotes what came
    try:
        return Taken(raw, _asked(message, queue) | {"digest": digest(raw)})
    except InvalidJob as refused:
        raise RefusedMessage("OV009", str(refused), refused.field, str(message.id)) from None


def _asked(message: Message, queue: str) -> dict[str, Any]:
    kind = catalog.job_type(message.type)
    if queue in QUEUES and queue != kind.queue:
        raise InvalidJob(f"{kind.name} belongs into {kind.queue}, not into {queue}.", field="type")
    if message.bucket is not None and message.bucket != kind.name:
        raise InvalidJob(f"The bucket of a {kind.name} is {kind.name}.", field="bucket")
    told = wire.settings(kind.name, message.config, message.metadata)
    settings = catalog.resolve(kind.name, told).as_dict()
    prompt, negative = catalog.check_text(message.prompt, message.negative_prompt)
    ids = {name: str(value) for name in ("id", "user_id", "project_id", "video_id", "image_id") if (value := getattr(message, name))}
    asked = {
        **ids,
        "job_type": kind.name,
        "prompt": prompt,
        "negative_prompt": negative,
        "config": message.config,
        "settings": settings,
        # What the message itself chose: beside a row that is there, only this counts.
        "told": {name: value for name, value in settings.items() if name in told or (name == "frames_asked" and "frames" in told)},
        "metadata": {**message.metadata, **({"character_id": str(message.character_id)} if message.character_id else {})},
    }
    return _storable({name: value for name, value in asked.items() if value is not None})


def _storable(asked: dict[str, Any]) -> dict[str, Any]:
    """Postgres's jsonb holds neither NUL nor numbers that are none."""
    try:
        text = json.dumps(asked, allow_nan=False)
    except ValueError:
        raise InvalidJob("metadata holds a number that is none (infinity, NaN).", field="metadata") from None
    if "\\u0000" in text:
        raise InvalidJob("metadata holds a NUL character.", field="metadata")
    return asked


def _refusal(error: ValidationError) -> RefusedMessage:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part)[:40] for part in first["loc"])[:80]
    if first["type"] == "json_invalid":
        return RefusedMessage("no_json", "The message is no JSON that we can read.")
    return RefusedMessage("bad_field", f"{field or 'The message'}: {first['msg'][:200].rstrip('.')}.", field)
