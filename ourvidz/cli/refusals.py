"""`ourvidz safety refusals`: counts of what the screens refused. Refused texts are not stored."""

from __future__ import annotations

from ourvidz.cli import options, out, resolve


def refusals(since: options.Since = None, as_json: options.Json = False) -> None:
    """Count what was refused, by category, policy version and stage: at the door, or by an executor before, within and after generation."""
    from ourvidz import bootstrap
    from ourvidz.db import queries, safety

    db = bootstrap.app().database
    rows = safety.refusals(db, resolve.since(db, since))
    if as_json:
        return out.emit(rows)
    now = queries.now(db)
    columns = ("category", "policy", "stage", "refusals", "users", "last")
    out.table(columns, ([*(out.cell(row[name]) for name in ("category", "policy_version", "stage")), out.number(row["refusals"], "red"),
                         out.number(row["users"]), out.since(row["last"], now)] for row in rows), right=("refusals", "users"))  # fmt: skip
    if not rows:
        out.say("Nothing was refused.", "dim")
