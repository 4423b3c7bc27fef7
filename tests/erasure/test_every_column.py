"""Every column that can hold text is in the erasure's rules, or is listed with the reason why it holds none of a user's."""

from __future__ import annotations

from ourvidz.db.connection import Database
from ourvidz.db.erasure_rules import RULES

FIGURES = "ids, figures and words from lists"
OURS = "a copy of this program's data"
OPERATORS = "what operators write"
HOLDS_NONE = {
    "public.jobs": {
        "status": FIGURES, "job_type": "a name of the catalog", "lane": FIGURES, "crashed_on": "an executor's name", "error_class": FIGURES,
    },
    "public.job_events": {"type": FIGURES, "from_status": FIGURES, "to_status": FIGURES, "actor": "kind and id of who acted",
                          "data": "held to DATA_KEYS: figures, hashes and single words"},
    "public.usage_logs": {},
    "ourvidz.age_reviews": {"decision": FIGURES, "decided_by": OPERATORS, "began_by": OPERATORS},
    "ourvidz.alembic_version": {"*": OURS},
    "ourvidz.buckets": {"*": OURS},
    "ourvidz.column_kinds": {"*": OURS},
    "ourvidz.erasure_rules": {"*": OURS},
    "ourvidz.erasures": {"reason": OPERATORS, "asked_by": OPERATORS, "counts": FIGURES},
    "ourvidz.enhancers": {"*": "names of processes"},
    "ourvidz.event_types": {"*": OURS},
    "ourvidz.catalog_states": {"*": OURS},
    "ourvidz.identities": {"*": OURS},
    "ourvidz.executors": {"*": "names and gauges of machines"},
    "ourvidz.intake_counts": {"*": FIGURES},
    "ourvidz.intake_messages": {"queue": FIGURES, "outcome": FIGURES, "reason": "a word of errors.py", "field": "a field's name"},
    "ourvidz.job_types": {"*": OURS},
    "ourvidz.legal_holds": {"*": OPERATORS},
    "ourvidz.locks": {"*": OURS},
    "ourvidz.logins": {"*": OPERATORS},
    "ourvidz.role_limits": {"*": OURS},
    "ourvidz.older_scene_words": {"*": OURS},
    "ourvidz.older_types": {"*": OURS},
    "ourvidz.set_aside_rules": {"*": OURS},
    "public.job_payloads": {"source": "the way it came by, of a list"},
    "ourvidz.plan_words": {"*": OURS},
    "ourvidz.plans": {"*": OURS},
    "ourvidz.sharing": {"*": OPERATORS},
    "public.system_config": {"*": OPERATORS},
    "ourvidz.policy": {"*": OURS},
    "ourvidz.receivers": {"*": OPERATORS},
    "ourvidz.refusals": {"*": OURS},
    "ourvidz.appeals": {"subject": FIGURES, "decision": FIGURES, "decided_by": OPERATORS},
    "ourvidz.blocked_hashes": {"*": "hashes, and names of lists"},
    "ourvidz.moderation_events": {"*": FIGURES},
    "ourvidz.report_moves": {"*": OURS},
    "ourvidz.report_rules": {"*": OURS},
    "ourvidz.report_sources": {"source": "a salted hash, deleted two days later"},
    "ourvidz.reports": {"*": FIGURES},
    "ourvidz.suspensions": {"reason": FIGURES, "by": OPERATORS, "lifted_by": OPERATORS},
    "ourvidz.takedowns": {"*": FIGURES},
    "ourvidz.row_bounds": {"*": OURS},
    "ourvidz.row_counts": {"name": "a table's name"},
    "ourvidz.scene_steps": {"*": OURS},
    "ourvidz.schema_objects": {"*": OURS},
    "ourvidz.screenings": {"stage": FIGURES, **dict.fromkeys(("policy_version", "category", "rule_id"), "held to a pattern")},
    "ourvidz.shares": {"lane": FIGURES},
    "ourvidz.token_entries": {"account": FIGURES, "kind": FIGURES, "key": OPERATORS, "reason": OPERATORS, "actor": OPERATORS},
    "ourvidz.text_reads": {"actor": OPERATORS, "reason": OPERATORS},
    "ourvidz.transitions": {"*": OURS},
    "ourvidz.wire_names": {"*": OURS},
}  # fmt: skip

WORDY = """select table_schema || '.' || table_name as name, column_name as column
           from information_schema.columns join information_schema.tables using (table_schema, table_name)
           where table_schema in ('public', 'ourvidz') and table_type = 'BASE TABLE'
             and data_type in ('text', 'character varying', 'json', 'jsonb', 'ARRAY', 'inet', 'xml', 'name')"""


def test_every_text_column_is_erased_or_exempt(database: Database) -> None:
    gone = {rule.table for rule in RULES if not rule.blank}
    blanked = {(rule.table, column) for rule in RULES for column in rule.blank}
    found = {(row["name"], row["column"]) for row in database.rows(WORDY)}
    placed = {(name, column) for name, column in found
              if name in gone or (name, column) in blanked or {"*", column} & set(HOLDS_NONE.get(name, {}))}  # fmt: skip
    assert sorted(found - placed) == [], "erase it (ourvidz/db/erasure_rules.py), or say here why it holds no user's words"
    assert blanked <= {(r["name"], r["column"]) for r in database.rows(WORDY.partition("and data_type")[0])}, (
        "a rule names a column that is not there"
    )
    for name, columns in HOLDS_NONE.items():
        assert {(name, column) for column in columns if column != "*"} <= found - blanked, f"{name}: not there, or erased after all"
