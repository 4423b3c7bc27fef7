"""SQL of the schema objects, file by file, and rows of the tables that are copies of Python data (layer.py applies both)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from sqlalchemy import Connection

from ourvidz.db import erasure_rules
from state import bounds, catalog, client_names, errors, events, kinds, machine, policy, reports, schedulers, video_status

ROLES = (
    *("anon", "authenticated", "service_role", "authenticator", "ourvidz_owner", "ourvidz_admin"),
    *("ourvidz_executor", "ourvidz_intake", "ourvidz_deliverer", "ourvidz_analyst"),
)
"""Roles that policies and grants name; roles.sql makes those that are missing."""

_SQL = resources.files("ourvidz.db") / "sql"


def parts() -> Iterator[tuple[str, str]]:
    """Name and SQL text of each file of schema objects, in order."""
    functions = sorted(f"functions/{subject.name}/{file.name}" for subject in (_SQL / "functions").iterdir() for file in subject.iterdir())
    # A view must come after those it reads; functions may name each other in any order.
    views = ("job_timeline.sql", "queue_depth.sql", "job_durations.sql", "fleet.sql")
    files = [*functions, *(f"views/{name}" for name in views)]
    names = [
        "roles.sql",
        *files,
        "triggers.sql",
        "signup.sql",
        "realtime.sql",
        "planner.sql",
        "identity.sql",
        "own.sql",
        "grants.sql",
        "limits.sql",
        "policies.sql",
        "supabase.sql",
    ]
    for name in names:
        yield name, _SQL.joinpath(name).read_text(encoding="utf-8")


def migrations() -> list[str]:
    """Names of the numbered migrations that this program knows."""
    return sorted(file.name for file in resources.files("migrations.versions").iterdir() if file.name.endswith(".py"))


def script(connection: Connection, sql: str) -> None:
    """Run SQL text verbatim: several statements, and percent signs that are no placeholders."""
    driver: Any = connection.connection.driver_connection
    driver.execute(sql)


def tables() -> dict[str, list[dict[str, Any]]]:
    """The rows of `ourvidz.<table>` that are copies of Python data."""
    return {
        "event_types": [{"name": str(e), "keys": list(kinds.EVENT_DATA[e]), "kinds": kinds.EVENT_DATA[e]} for e in machine.EventType],
        "column_kinds": [{"name": f"{r}.{c}", "kind": kind} for r, row in kinds.COLUMNS.items() for c, kind in row.items()],
        "transitions": [
            {
                "event": str(t.event),
                "source": None if t.source is None else str(t.source),
                "target": str(t.target),
                "before": str(t.before),
                "after": str(t.after),
                "keys": list(events.DATA_KEYS[t.event]),
            }
            for t in machine.TRANSITIONS
        ],
        "job_types": [_job_type(row) for row in catalog.JOB_TYPES.values()],
        "wire_names": client_names.rows(),
        "set_aside_rules": client_names.set_aside_rows(),
        "older_types": client_names.older_type_rows(),
        "refusals": [{"name": leaf.sqlstate, "code": leaf.code, "http": leaf.http} for leaf in errors.BY_SQLSTATE.values()],
        "scene_steps": video_status.rows(),
        "buckets": buckets(),
        "erasure_rules": erasure_rules.rows(),
        "plans": [{"name": name, **plan.__dict__} for name, plan in policy.PLANS.items()],
        "plan_words": [{"word": word, "plan": plan} for word, plan in policy.PLAN_WORDS.items()],
        "report_rules": reports.rules(),
        "report_moves": reports.moves(),
        "policy": [{"only_row": True, **policy.settings()}],
        "role_limits": [{"name": role, **limits.__dict__} for role, limits in policy.LIMITS.items()],
        "limits": [{"only_row": True, **bounds.limits()}],
        "row_bounds": bounds.rows(),
    }


def buckets() -> list[dict[str, Any]]:
    """The catalog's buckets, from which the policies on storage are made."""
    return [
        {
            "name": name,
            "public": b.public,
            "uploads": b.uploads,
            "sealed": b.sealed,
            "max_bytes": b.max_bytes,
            "media_types": sorted(b.media_types),
        }
        for name, b in catalog.BUCKETS.items()
    ]


def limits(kind: catalog.JobType) -> Mapping[str, Any]:
    """Limits that the database checks of a job's settings: [low, high], with a third element when it must be whole; or a list of choices,
    empty for a setting that this type does not have."""
    sdxl = kind.family == "sdxl"
    none: Mapping[str, Any] = {"in": []}
    return {
        "steps": [1, kind.steps_max, "whole"],
        "guidance": list(catalog.GUIDANCE),
        "seed": [0, catalog.SEED_MAX, "whole"],
        "images": {"in": list(kind.images)},
        "frames": {"in": [kind.frames]},
        "fps": {"in": [catalog.FPS]} if kind.video else none,
        "size": {"in": [list(size) for size in kind.sizes]},
        "strength": list(catalog.STRENGTH) if kind.init_image else none,
        "slots": {"in": list(catalog.reference_slots(kind))},  # of references (ourvidz.check_references)
        "reference_strength": list(catalog.STRENGTH),
        "reference_type": {"in": list(catalog.REFERENCE_TYPES)} if sdxl else none,
        "reference_fallback": {"in": [True, False]},
        "on_enhance_failure": {"in": ["continue", "fail"]},
        "shift": none if sdxl else list(catalog.SHIFT),
        "sampler": none if sdxl else _schedulers("wan"),
        "scheduler": _schedulers("sdxl") if sdxl else none,
    }


def _schedulers(family: str) -> Mapping[str, Any]:
    """`same`: other spellings of each (ourvidz.canonical_sampler); `noise`: words that senders give beside a name, and their effect."""
    return {
        "in": [row.name for row in schedulers.OF[family]],
        "same": schedulers.spellings(family),
        "noise": schedulers.NOISE if family == "sdxl" else {},
    }


def _job_type(kind: catalog.JobType) -> dict[str, Any]:
    names = (
        *("name", "label", "family", "queue", "fast", "video", "enhance", "init_image", "time_limit", "price", "backoff_scale"),
        *("media_type", "extension", "expected_seconds"),
    )
    return {name: getattr(kind, name) for name in names} | {
        "model_variant": client_names.MODEL_VARIANTS[kind.family],
        "bucket_bytes": kind.bucket_mb * catalog.MB,
        "fallback": policy.FALLBACKS.get(kind.name),
        "defaults": catalog.defaults(kind),
        "limits": limits(kind),
    }


_CLEARED_FIRST = (
    "transitions",
    "wire_names",
    "scene_steps",
    "buckets",
    "plan_words",
    "set_aside_rules",
    "older_types",
    "erasure_rules",
    "report_moves",
    "row_bounds",
)
"""Tables that nothing refers to: replaced whole. The others are upserted, because jobs and plans name their rows."""

_OPERATORS = {"policy": policy.OPERATORS, "limits": bounds.OPERATORS}
"""Columns that an operator sets: ours are the initial values, which an upgrade does not write again."""


def copying(table: str, rows: list[dict[str, Any]]) -> str:
    """The SQL that makes `ourvidz.<table>` a copy of `rows`."""
    key = {"policy": "only_row", "limits": "only_row", "plan_words": "word"}.get(table, "name")
    columns = ", ".join(rows[0])
    body = json.dumps(rows, ensure_ascii=False).replace("'", "''")
    values = f"select {columns} from jsonb_populate_recordset(null::ourvidz.{table}, '{body}')"
    if table in _CLEARED_FIRST:
        return f"delete from ourvidz.{table};\ninsert into ourvidz.{table} ({columns}) {values}"
    changes = ", ".join(f"{c} = excluded.{c}" for c in rows[0] if c != key and c not in _OPERATORS.get(table, ()))
    return f"insert into ourvidz.{table} ({columns}) {values} on conflict ({key}) do update set {changes}"
