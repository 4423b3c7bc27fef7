"""Kinds of value allowed in event data and text columns that analysts read: one row per key of an event's data and per column of text.

The kinds are numbers, flags, ids, timestamps, hashes, names from lists, and ids of a fixed form. None of them can hold a sentence that a
person wrote, so nothing here has to be erased or hidden from an analyst. The database stores the rows as `ourvidz.event_types.kinds` and
`ourvidz.column_kinds`, and refuses any other value, no matter who writes it (ourvidz.matches_kind).

A kind is JSON: {"type": t} (a type of JSON), {"in": [values]}, {"match": regular expression}, {"items": kind} (an array), or {"each":
[kinds]} (an object whose every value is of one of the kinds). null is of every kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from state import schedulers
from state.catalog import GIF, JOB_TYPES, LANES, MP4, PNG, REFERENCE_TYPES, WEBP
from state.client_names import NAMES, REFERENCES
from state.errors import BY_SQLSTATE
from state.machine import STATUSES, EventType

Kind = Mapping[str, Any]

ERROR_CLASSES: Final = (
    # of an attempt: executors/errors.py, ourvidz/storage/base.py, ourvidz/safety/screen.py
    "executor", "model_file", "bad_request", "bad_reference", "no_consent", "reference_away", "bad_output", "enhancement", "enhancer_away",
    "out_of_memory", "disk_full", "provenance", "screen_unavailable", "storage", "path_refused", "bucket_missing", "media_type_refused",
    "object_too_large", "object_exists", "object_missing", "storage_denied", "source_lost", "storage_full", "storage_unavailable",
    "unexpected", "refused_content", "text_unreadable", "no_image_screen", "stalled",
    # of the database
    "quarantined", "timeout",
    # of jobs imported from the legacy system
    "abandoned", "older_system",
)  # fmt: skip
CAUSES: Final = ("lease ran out", "died", "hung", "stopped", "killed", "left behind", "left", "lost", "lost answer")
"""Reasons why an executor is gone."""
SKIPS: Final = (*ERROR_CLASSES, "model_refused", "no_description", "other_language", "time_limit")
"""Why enhancement was skipped and the prompt used as written."""
SNOOZES: Final = ("drain", "model_file")
REROUTES: Final = ("asked", "no_executor", "message")  # message: the settings came in a Redis message beside the row
STOPS: Final = ("age", "suspended")
"""Reasons for stopping all jobs of a user (ourvidz.stop_jobs)."""
STAGES: Final = ("door", "prompt", "enhanced", "negative", "title", "character", "metadata", "reference", "output")
CATEGORIES: Final = ("minors", "unreadable", "consent", "image", "blocked")
"""Categories of a screen's refusal. `unreadable`: the text cannot be judged.

`image`: any refusal by a third-party image screen; its own word stays in the job's message.
"""
RULES: Final = (
    "word", "inside", "stems", "exact",  # of a list of words
    "age", "school", "young-person", "years-old", "aged", "under-age", "person-age", "birthday", "year-person", "is-age", "scouts",
    "months-old", "looks", "kid", "child", "barely-legal", "unreadable", "language",
    "of-age",  # of negative prompts
)  # fmt: skip
"""Rule names of the lexical screen (ourvidz/safety/terms), without their language."""
PROFILES: Final = ("exact", "default", "turbo-cache", "turbo-int8", "turbo-fp8", "turbo-steps")
ARTIFACTS: Final = ("image", "video", "thumbnail")
SLOTS: Final = ("init", "single", "first_frame", "last_frame", *REFERENCE_TYPES)
MEDIA: Final = (PNG, MP4, WEBP, GIF, "image/jpeg")


def one_of(values: Iterable[str]) -> Kind:
    return {"in": sorted({str(value) for value in values})}


def form(pattern: str) -> Kind:
    """Text of a fixed form. `pattern` must match all of it, in Python's `re` and in Postgres alike."""
    return {"match": f"^({pattern})$"}


NUMBER: Final[Kind] = {"type": "number"}
FLAG: Final[Kind] = {"type": "boolean"}
ID: Final = form("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME: Final = form("[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}[+]00:00|-?infinity")
"""In UTC: an event's hash must not depend on the TimeZone of the session that wrote it (ourvidz.utc_text)."""
HASH: Final = form("[0-9a-f]{64}")
EXECUTOR: Final = form("[A-Za-z0-9._-]{1,80}")
"""A name given by an operator. An executor whose login is only an executor's does not choose it (ourvidz.register)."""
POLICY_VERSION: Final = form(r"[0-9]{4}-[0-9]{2}\+[0-9a-f]{8}|(guard|image)-[0-9a-f]{8}")
RULE: Final = form(f"[a-z]{{2,3}}/({'|'.join(RULES)})|guard[.][A-Z]|image[.][0-9]{{1,4}}|image-[0-9a-f]{{8}}")
DEVICE: Final = form(
    "cpu|cuda|NVIDIA (GeForce |Quadro |Tesla )?(RTX|GTX|GH|GB|A|B|H|L|T|V)? ?[0-9]{1,4}[A-Z]?"
    "( (Ti|SUPER|Super|Ada|Generation|Laptop|GPU|PCIe|PCIE|SXM[0-9]?|SXM-[0-9]|NVL|HBM[0-9]e?|[0-9]{1,3} ?GB|MIG [0-9]g.[0-9]{1,3}gb))*"
)
"""A device's product name. Any name of another form is stored as `cuda`."""
JOB_TYPE: Final = one_of(JOB_TYPES)
LANE: Final = one_of((*LANES, "older"))
ERROR_CLASS: Final = one_of(ERROR_CLASSES)
SETTINGS: Final[Kind] = {"each": [NUMBER, FLAG, one_of((*REFERENCE_TYPES, *schedulers.NAMES, "continue", "fail"))]}

_JOB: Final[Mapping[str, Kind]] = {
    "user_id": ID, "job_type": JOB_TYPE, "lane": LANE, "priority": NUMBER, "rank": NUMBER, "run_at": TIME, "project_id": ID,
    "video_id": ID, "image_id": ID, "digest": HASH, "price": NUMBER,
}  # fmt: skip
QUEUE: Final = one_of(("sdxl_queue", "wan_queue", "job_queue"))
OUTCOME: Final = one_of(("drained", "joined", "repeated", "refused"))
FIELD: Final = one_of((
    *NAMES, *(name for names in REFERENCES.values() for name in names), "id", "type", "prompt", "negative_prompt", "config", "metadata",
    "user_id", "video_id", "image_id", "project_id", "character_id", "created_at", "job_type", "references", "reference_image_url",
    "idempotency_key", "priority", "run_at", "status", "bucket", "path", "sha256", "image_index", "source", "other",
))  # fmt: skip
"""Fields named in a refused message. An unknown name could be text that a person wrote: it is stored as `other`."""
INTAKE_REASONS: Final = ("", "too_large", "no_json", "bad_field", "other", *BY_SQLSTATE)
COLUMNS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "public.artifacts": {"kind": one_of(ARTIFACTS), "media_type": one_of(MEDIA)},
    "ourvidz.executors": {"called": EXECUTOR, "lanes": {"items": LANE}, "resident": {"items": LANE}, "lane": LANE,
                          "state": one_of(("active", "draining", "gone")),
                          "reference_pictures": one_of(("screened", "unscreened", "refused", "tiny"))},
    "ourvidz.intake_messages": {"queue": QUEUE, "outcome": OUTCOME, "reason": one_of(INTAKE_REASONS), "field": FIELD},
    "ourvidz.intake_counts": {"queue": QUEUE, "outcome": OUTCOME, "reason": one_of(INTAKE_REASONS)},
    "ourvidz.screenings": {"stage": one_of(STAGES), "policy_version": POLICY_VERSION, "category": one_of(CATEGORIES), "rule_id": RULE,
                           "digest": HASH},
}  # fmt: skip
"""Text columns that can hold values from outside this program, and that an analyst reads or an erasure keeps. Columns of jobs follow its
events, whose data is checked against EVENT_DATA. Analysts read no text column that is missing here (sql/policies.sql, grants.sql)."""

EVENT_DATA: Final[Mapping[EventType, Mapping[str, Kind]]] = {
    EventType.SUBMITTED: _JOB,
    # `status`: the legacy system's own, as far as it is known.
    EventType.IMPORTED: {**_JOB, "job_type": form("[a-z0-9_]{1,40}"), "status": one_of((*STATUSES, "processing", "pending", "other")),
                         "error_class": ERROR_CLASS, "final": FLAG, "completed_at": TIME},
    EventType.CLAIMED: {"executor_id": ID, "executor": EXECUTOR, "deadline": TIME},
    EventType.ENHANCEMENT_STARTED: {"on_device": FLAG},  # false: by another process, while another job uses the device
    EventType.GENERATION_STARTED: {"profile": one_of(PROFILES), "device": DEVICE, "digest": HASH},  # digest: of prompt and negative prompt
    EventType.UPLOAD_STARTED: {"outputs": NUMBER, "resumed": FLAG},
    EventType.COMPLETED: {"artifacts": NUMBER, "charged_images": NUMBER},
    EventType.RETRY_SCHEDULED: {"class": ERROR_CLASS, "run_at": TIME},
    EventType.LEASE_EXPIRED: {"executor": EXECUTOR, "on_device": FLAG, "run_at": TIME, "cause": one_of(CAUSES)},
    EventType.SNOOZED: {"reason": one_of(SNOOZES), "run_at": TIME},
    EventType.FAILED: {"class": ERROR_CLASS, "final": FLAG, "category": one_of(CATEGORIES), "policy_version": POLICY_VERSION,
                       "stage": one_of(STAGES), "rule_id": RULE, "digest": HASH},
    EventType.CANCELLED: {"reason": one_of(STOPS)},
    # waived: the price of a free retry; delivered: how many outputs there were
    EventType.RETRIED: {"rank": NUMBER, "run_at": TIME, "price": NUMBER, "waived": NUMBER, "delivered": NUMBER},
    EventType.REROUTED: {"job_type": JOB_TYPE, "lane": LANE, "rank": NUMBER, "from_type": JOB_TYPE, "reason": one_of(REROUTES),
                         "price_change": NUMBER, "settings": SETTINGS},
    EventType.REPRIORITISED: {"priority": NUMBER, "rank": NUMBER, "run_at": TIME},  # run_at: of an imported job, when it may be claimed
    EventType.PROMPT_ENHANCED: {"seconds": NUMBER, "tokens": NUMBER, "digest": HASH},
    EventType.ENHANCEMENT_SKIPPED: {"reason": one_of(SKIPS), "seconds": NUMBER},
    EventType.REFERENCE_SKIPPED: {"reference": one_of(SLOTS), "reason": ERROR_CLASS},
    EventType.ARTIFACT_GENERATED: {"index": NUMBER, "kind": one_of(ARTIFACTS), "seed": NUMBER, "bytes": NUMBER, "digest": HASH,
                                   "seconds": NUMBER},
    EventType.ARTIFACT_UPLOADED: {"index": NUMBER, "kind": one_of(ARTIFACTS), "bytes": NUMBER, "digest": HASH},
    EventType.GENERATION_REPEATED: {"index": NUMBER, "reason": ERROR_CLASS},
    EventType.CANCEL_REQUESTED: {"reason": one_of(STOPS)},
    EventType.LINKED: {"image_id": ID, "video_id": ID},
    EventType.REMOVED: {"what": one_of(("job", "output")), "kind": one_of(ARTIFACTS), "index": NUMBER, "image_id": ID, "video_id": ID},
}  # fmt: skip
"""Every key an event's data may have, and its kind. Closed: the database refuses others."""


def fits(value: Any, kind: Kind) -> bool:
    """Check if a JSON value is of the kind: `ourvidz.matches_kind`, implemented a second time for the audit."""
    if value is None:
        return True
    if "items" in kind:
        return isinstance(value, list) and all(fits(item, kind["items"]) for item in value)
    if "in" in kind:
        return isinstance(value, str) and value in kind["in"]
    if "match" in kind:
        return isinstance(value, str) and re.search(kind["match"], value) is not None and not value.endswith("\n")
    if "each" in kind:
        return isinstance(value, dict) and all(any(fits(one, k) for k in kind["each"]) for one in value.values())
    return isinstance(value, bool) if kind["type"] == "boolean" else isinstance(value, int | float) and not isinstance(value, bool)
