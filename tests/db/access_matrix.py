"""The expected access rights, verb by verb: tests/db/test_access.py tries every one and must find exactly this. Anything not listed is
refused.

A relation or function of ours without an entry fails the suite. `user` is each of two users, `own` are that user's rows; column names
follow where the right does not cover all columns.
"""

from __future__ import annotations

from typing import Final

Verbs = dict[str, str]

OWN: Final[Verbs] = {"select": "own"}
ALL: Final[Verbs] = {"select": "all"}
USAGE = "user_id action format quality credits_consumed metadata"
JOB = "user_id job_type format quality model_type metadata project_id video_id image_id status"
WORDS = "job_id user_id prompt negative_prompt settings metadata idempotency_key enhanced_prompt error_message set_aside source"
FIGURES = """id status version head_hash submitted_on user_id job_type lane project_id video_id image_id priority rank ready run_at claim_no
  executor_id claimed_at deadline attempts errors crashes device_crashes crashed_on snoozes cancel_requested error_class final enhanced
  generated uploaded created_at updated_at completed_at format quality model_type worker_type hidden"""
EXECUTORS = "id name called host pid lanes resident state waiting lane lane_since started_at beat_at lease_until info reference_pictures"
# Columns that analysts read: numbers, ids and values from closed lists (state/kinds.py).
COUNTED = """id status version head_hash submitted_on user_id job_type lane project_id video_id image_id priority rank ready run_at claim_no
  executor_id claimed_at deadline attempts errors crashes device_crashes crashed_on snoozes cancel_requested error_class final enhanced
  generated uploaded created_at updated_at completed_at hidden"""
OUTPUTS = "job_id index kind claim_no seed media_type width height frames bytes uploaded_at created_at deleted_at"
BEATS = "id called pid lanes resident state waiting lane lane_since started_at beat_at lease_until reference_pictures"
MESSAGES = "seq at queue outcome message_id reason field"
SENT = "id receiver job_id job_version status created_at attempts next_at delivered_at dead_at last_status"
RECEIVERS = "name events enabled exhausted disabled_at"
IMAGE = "user_id project_id title prompt enhanced_prompt generation_mode status metadata format quality job_id image_index prompt_test_id"
REVIEW = "moderation_status reviewed_at reviewed_by review_notes"
CHARACTER = "name description traits appearance_tags image_url reference_image_url"
PROJECT = """title original_prompt enhanced_prompt media_type duration target_duration scene_count workflow_step character_id preview_url
  reference_image_url"""
SCENE = "scene_number description enhanced_prompt image_url approved final_stitched_url"
RATING = "overall_quality technical_quality content_quality consistency notes test_metadata success job_id image_id video_id"
TEST = f"user_id model_type model_version prompt_text test_series test_tier test_category {RATING}"
SETTINGS = "id config updated_at"

EVERY_LOGIN: Final = {f"ourvidz_{role}": ALL for role in ("executor", "intake", "deliverer", "analyst")}

RELATIONS: Final[dict[str, dict[str, Verbs]]] = {
    "public.profiles": {
        "user": {"select": "own", "insert": "own id", "update": "own last_login"},
        "admin": ALL,
        "service_role": ALL,
    },
    "public.characters": {
        "user": {"select": "own", "insert": f"own user_id {CHARACTER}", "update": f"own {CHARACTER}", "delete": "own"},
        "admin": ALL,
        "service_role": ALL,
    },
    "public.projects": {
        "user": {"select": "own", "insert": f"own user_id {PROJECT}", "update": f"own {PROJECT}", "delete": "own"},
        "admin": ALL,
        "service_role": ALL,
    },
    "public.scenes": {
        "user": {"select": "own", "insert": f"own project_id {SCENE}", "update": f"own {SCENE}", "delete": "own"},
        "admin": ALL,
        "service_role": ALL,
    },
    "public.user_roles": {"user": OWN, "admin": ALL, "service_role": ALL},
    "public.user_activity_log": {"user": OWN, "admin": ALL, "service_role": ALL},
    "public.model_test_results": {
        "admin": {"select": "all", "insert": f"all {TEST}", "update": f"all {RATING}"},
        "service_role": {"select": "all", "update": f"all {RATING}"},
    },
    "public.system_config": {
        "admin": {"select": "all", "insert": f"all {SETTINGS}", "update": f"all {SETTINGS}"},
        "service_role": ALL,
    },
    "public.videos": {
        "user": {
            "select": "own",
            "insert": "own user_id project_id scene_number status format resolution",
            "update": "own project_id scene_number",
            "delete": "own",
        },
        "admin": ALL,
        "service_role": ALL,
    },
    "public.images": {
        "user": {"select": "own", "insert": f"own {IMAGE}", "delete": "own"},
        "admin": {"select": "all", "update": f"all {REVIEW}"},
        "service_role": {
            "select": "all",
            "insert": f"all {IMAGE}",
            "update": "all title image_url thumbnail_url status metadata updated_at",
            "delete": "all",
        },
    },
    "public.jobs": {
        # Updates and deletes here are requests that write no row themselves; their effects are tested in test_library.py.
        "user": {"select": "own", "insert": f"own {JOB}"},
        "admin": ALL,
        "service_role": {"select": "all", "insert": f"all {JOB}", "update": "all status metadata error_message completed_at"},
        "ourvidz_executor": {"select": f"all {FIGURES}"},
        "ourvidz_analyst": {"select": f"all {COUNTED}"},
    },
    "public.job_payloads": {"user": {"select": f"own {WORDS}"}},  # admins use public.read_prompt
    "public.job_events": {"user": OWN, "admin": ALL, "ourvidz_executor": ALL, "ourvidz_analyst": ALL},
    "public.artifacts": {
        "user": OWN,
        "admin": ALL,
        "service_role": ALL,
        "ourvidz_executor": ALL,
        "ourvidz_analyst": {"select": f"all {OUTPUTS}"},
    },
    "public.usage_logs": {
        "user": {"select": "own", "insert": f"own {USAGE}"},
        "admin": ALL,
        "service_role": {"select": "all", "insert": f"all {USAGE}"},
    },
    "public.consents": {"user": OWN, "admin": ALL},
    "public.job_timeline": {"user": OWN, "admin": ALL, "ourvidz_analyst": ALL},
    "public.job_durations": {"user": OWN, "admin": ALL, "ourvidz_analyst": ALL},
    "public.queue_depth": {"ourvidz_executor": ALL, "ourvidz_analyst": ALL},
    "public.job_events_seq_seq": {},
    **{
        f"ourvidz.{name}": {}
        for name in ("erasures", "erasures_id_seq", "legal_holds", "legal_holds_id_seq", "screenings", "screenings_id_seq")
    },
    "ourvidz.age_reviews": {},
    "ourvidz.age_reviews_id_seq": {},
    "ourvidz.age_ends": {},
    "ourvidz.age_messages": {},
    "ourvidz.stops": {},
    "ourvidz.alembic_version": EVERY_LOGIN,
    "ourvidz.buckets": {},
    "ourvidz.enhancement_requests": {},
    "ourvidz.enhancers": {},
    "ourvidz.erasure_rules": {},
    "ourvidz.event_types": {},
    "ourvidz.executors": {"ourvidz_executor": {"select": f"all {EXECUTORS}"}, "ourvidz_analyst": {"select": f"all {BEATS}"}},
    "ourvidz.column_kinds": EVERY_LOGIN,
    "ourvidz.catalog_states": EVERY_LOGIN,
    "ourvidz.identities": EVERY_LOGIN,
    "ourvidz.fleet": {"ourvidz_executor": ALL, "ourvidz_analyst": ALL},
    "ourvidz.intake_counts": {"ourvidz_intake": ALL, "ourvidz_executor": ALL, "ourvidz_analyst": ALL},
    "ourvidz.intake_messages": {"ourvidz_intake": ALL, "ourvidz_executor": ALL, "ourvidz_analyst": {"select": f"all {MESSAGES}"}},
    "ourvidz.intake_messages_seq_seq": {},
    "ourvidz.job_references": {},
    "ourvidz.job_types": {},
    "ourvidz.schema_objects": EVERY_LOGIN,
    "ourvidz.older_scene_words": {},
    "ourvidz.outbox": {"ourvidz_deliverer": ALL, "ourvidz_executor": ALL, "ourvidz_analyst": {"select": f"all {SENT}"}},
    "ourvidz.import_decisions": {},
    "ourvidz.plan_words": {},
    "ourvidz.plans": {},
    "ourvidz.policy": EVERY_LOGIN,
    "ourvidz.locks": {},
    "ourvidz.logins": {},
    "ourvidz.role_limits": {},
    "ourvidz.receivers": {"ourvidz_deliverer": ALL, "ourvidz_executor": ALL, "ourvidz_analyst": {"select": f"all {RECEIVERS}"}},
    "ourvidz.refusals": {},
    "ourvidz.removals": {"ourvidz_deliverer": ALL, "ourvidz_executor": ALL},
    "ourvidz.scene_steps": {},
    **{
        f"ourvidz.{name}": {}
        for name in (
            "appeals",
            "blocked_hashes",
            "blocked_hashes_id_seq",
            "moderation_events",
            "moderation_events_id_seq",
            "report_moves",
            "report_payloads",
            "report_rules",
            "report_salts",
            "report_sources",
            "reports",
            "suspensions",
            "taken_objects",
            "takedowns",
        )
    },
    "ourvidz.shares": {},
    "ourvidz.sharing": {},
    "ourvidz.token_entries": {},
    "ourvidz.token_entries_seq_seq": {},
    "ourvidz.transitions": {},
    "ourvidz.wire_names": {},
    "ourvidz.set_aside_rules": {},
    "ourvidz.older_types": {},
    "ourvidz.limits": {},
    "ourvidz.row_bounds": {},
    "ourvidz.row_counts": {},
    "ourvidz.text_reads": {},
    "ourvidz.text_reads_id_seq": {},
}

API: Final = frozenset({"user", "admin", "service_role"})
EXECUTOR: Final = frozenset({"ourvidz_executor"})

FUNCTIONS: Final[dict[str, frozenset[str]]] = {
    "public.queue_job": API,
    "public.cancel_job": API,
    "public.retry_job": API,
    "public.approve_preview": API,
    "public.job_status": API,
    "public.attest_consent": API,
    "public.withdraw_consent": API,
    "public.ask_enhancement": API,
    "public.enhancement": API,
    "public.age_status": API,
    "public.request_age_review": API,
    "public.verify_age": frozenset({"admin", "service_role"}),
    "public.age_message": frozenset({"service_role"}),
    "public.report_refusal": API,
    "public.read_prompt": frozenset({"admin", "service_role"}),
    "public.file_report": frozenset({"service_role"}),
    "public.my_restrictions": frozenset({"user", "admin"}),
    "public.appeal": frozenset({"user", "admin"}),
    "public.report_queue": frozenset({"admin", "service_role"}),
    "public.moderate": frozenset({"admin", "service_role"}),
    "public.before_request": API | {"anon"},
    "public.has_role": API | {"anon"},
    "public.job_types": API | {"anon"},
    "public.request_bytes": API | {"anon"},
    **{
        f"ourvidz.{name}": EXECUTOR
        for name in (
            "register", "heartbeat", "jobs_of_executor", "claim", "advance", "advance_batch", "enhanced", "artifact_generated",
            "artifact_uploaded",
            "complete", "complete_batch", "fail", "snooze", "honour_cancel", "reap", "executor_gone", "on_device", "drain", "lane_order",
            "check_consent", "check_blocked", "job_texts", "enhancement_claim", "enhancement_heartbeat", "enhancement_finish",
        )
    },
    **{
        f"ourvidz.{name}": frozenset({"ourvidz_deliverer"})
        for name in (
            "removals_lease", "removals_done", "quarantine_lease", "quarantine_moved", "suspensions_take", "suspension_found",
            "suspension_swept",
            "outbox_due", "outbox_take", "outbox_sent", "outbox_unsent", "outbox_prune",
        )
    },
    **{f"ourvidz.{name}": frozenset({"ourvidz_intake"}) for name in ("intake", "intake_record", "intake_forget", "intake_users")},
    "ourvidz.now": frozenset(EVERY_LOGIN),
    "ourvidz.our_relations": frozenset(EVERY_LOGIN),
    "ourvidz.is_copy": frozenset(EVERY_LOGIN),
    "ourvidz.settled_xid": frozenset(EVERY_LOGIN),
    "ourvidz.unlimited_logins": frozenset(EVERY_LOGIN),
    "ourvidz.oldest_served": frozenset(EVERY_LOGIN),
    "ourvidz.job_as_of": frozenset({"ourvidz_analyst"}),
}  # fmt: skip
"""Functions and the roles that may call them. Unlisted functions of schema ourvidz are internal (nobody may call them); those of schema
public must all be listed."""

WRITES: Final[Verbs] = dict.fromkeys(("select", "insert", "update", "delete"), "all")
BUCKETS: Final[dict[str, dict[str, Verbs]]] = {
    "outputs": {"user": {"select": "own", "delete": "own"}, "admin": ALL, "service_role": WRITES},
    "references": {"user": {"select": "own", "insert": "own", "delete": "own"}, "admin": ALL, "service_role": WRITES},
    "sealed": {"service_role": WRITES},
    "assets": {"anon": ALL, "user": ALL, "admin": ALL, "service_role": WRITES},
}
"""Rights on rows of storage.objects, by what the bucket holds. Our policies open no bucket that is not ours."""
