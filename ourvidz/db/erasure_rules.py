"""Rules of an erasure, for each table that holds what a user wrote or what shows them: one row per table, copied to `ourvidz.erasure_rules`
and executed in this order by `ourvidz.erase_rows`. A new column that can hold a user's words needs a rule here
(tests/erasure/test_every_column.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_THEIR_JOBS = "job_id = any (array(select id from public.jobs where user_id = $1))"
_THEIRS = "user_id = $1"


@dataclass(frozen=True)
class Rule:
    """`whose`: condition that selects the rows, $1 being the user. `blank`: column → SQL of its new value; none: the rows are deleted.
    `unless`: condition for a row that is blank already, if its columns' new values do not show it. `kind`: what the rows are called in the
    report."""

    kind: str
    table: str
    whose: str = _THEIRS
    blank: Mapping[str, str] = field(default_factory=dict)
    unless: str | None = None


RULES: Sequence[Rule] = (
    # Before the prompts: their rows record if it was done before.
    Rule("intake_messages", "ourvidz.intake_messages",
         "message_id = any (array(select job_id from public.job_payloads where user_id = $1 and erased_at is null))",
         blank={"digest": "ourvidz.salt()"}, unless="false"),
    # A new salt: the one that the digests in the events were made with is gone.
    Rule("prompts", "public.job_payloads", blank={
        **dict.fromkeys(("negative_prompt", "enhanced_prompt", "error_message", "idempotency_key"), "null"),
        "prompt": "''", "settings": "'{}'", "metadata": "'{}'", "set_aside": "null",
        "salt": "ourvidz.salt()", "body_digest": "ourvidz.salt()", "erased_at": "ourvidz.now()",
    }, unless="erased_at is not null"),
    # The legacy system let users write these; its front end's words for a type follow from the job's type.
    Rule("job_metadata", "public.jobs", blank=dict.fromkeys(
        ("metadata", "error_message", "format", "quality", "model_type", "worker_type"), "null")),
    Rule("older_jobs", "ourvidz.older_jobs", "to_jsonb(older_jobs)->>'user_id' = $1::text"),
    Rule("artifacts", "public.artifacts", _THEIR_JOBS),
    Rule("job_references", "ourvidz.job_references", _THEIR_JOBS),
    Rule("test_results", "public.model_test_results", f"{_THEIRS} or {_THEIR_JOBS}"),
    Rule("images", "public.images"),
    Rule("videos", "public.videos"),
    Rule("scenes", "public.scenes", "project_id = any (array(select id from public.projects where user_id = $1))"),
    Rule("projects", "public.projects"),
    Rule("characters", "public.characters"),
    Rule("removals", "ourvidz.removals"),  # their objects are deleted with all the others
    Rule("consents", "public.consents"),
    # Rows that clients wrote. Rows that events wrote hold figures alone.
    Rule("usage_logs", "public.usage_logs", f"{_THEIRS} and job_id is null", blank={
        "action": "'erased'", "format": "null", "quality": "null", "metadata": "'{}'",
    }),
    Rule("activity_log", "public.user_activity_log"),
    Rule("roles", "public.user_roles"),
    Rule("profiles", "public.profiles", "id = $1", blank={
        "email": "null", "username": "null", "last_login": "null", "subscription_status": "'inactive'",
    }),
    Rule("import_decisions", "ourvidz.import_decisions"),
    Rule("outbox", "ourvidz.outbox", _THEIR_JOBS),
    Rule("refusal_digests", "ourvidz.screenings", blank={"digest": "null", "salt": "null"}),
    # Texts about their outputs, and their appeals. The decision, its time and its author stay: ids and codes alone.
    Rule("report_payloads", "ourvidz.report_payloads"),
    Rule("taken_objects", "ourvidz.taken_objects"),  # their objects are deleted with all the others, in `quarantine` too
    Rule("enhancement_requests", "ourvidz.enhancement_requests"),
    Rule("row_counts", "ourvidz.row_counts", "owner = $1"),
    Rule("stops", "ourvidz.stops"),
    Rule("age_ends", "ourvidz.age_ends"),
    Rule("age_messages", "ourvidz.age_messages"),
    # The decision and its author stay; what it is based on may name a document.
    Rule("age_reviews", "ourvidz.age_reviews", blank={"how": "null"}),
)  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """The rows of `ourvidz.erasure_rules`."""
    return [
        {
            "n": n,
            "kind": r.kind,
            "relation": r.table,
            "whose": r.whose,
            "blank": dict(r.blank) or None,
            "unless": r.unless or _same(r.blank),
        }
        for n, r in enumerate(RULES)
    ]


def _same(blank: Mapping[str, str]) -> str:
    return " and ".join(f"{column} is not distinct from ({value})" for column, value in blank.items()) or "false"
