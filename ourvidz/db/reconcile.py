"""Convert existing tables to what this program needs; all of it is planned before anything is changed.

The product's tables (profiles, images, videos …) may exist, as OurVidz's legacy system made them or as somebody changed them since.
`ourvidz/db/sql/reconcile` defines as data what each column, check and key must be, inspects what is there, tries this program's own writes
on temporary copies, and makes a plan of named steps. What cannot be done is refused, all of it at once, each with its remedy. The same text
serves `migrate`, `migrate --check` and `migrate --sql` (docs/decisions/0027).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from sqlalchemy import Connection, text

_SQL = resources.files("ourvidz.db") / "sql" / "reconcile"


@dataclass(frozen=True)
class Step:
    """Change of one object by the migration (`action`, by `sql`), or why it is impossible (`refused`) and what to do about it (`remedy`).

    A step without `sql` is done by ourvidz.repoint_legacy after the import, or says that something is left as it is.
    """

    object: str
    action: str | None
    sql: str | None
    refused: str | None
    remedy: str | None


@dataclass(frozen=True)
class Beliefs:
    """What an operator trusts of what the legacy system's users wrote about themselves: "none", "all", or the ids of some users."""

    balance: str | Sequence[str] = "none"
    plan: str | Sequence[str] = "none"
    age: str | Sequence[str] = "none"
    start: int = 0  # tokens of those whose balance is not trusted
    by: str = field(default="migration")

    def setting(self) -> str:
        said = {"balance": self.balance, "plan": self.plan, "age": self.age}
        return json.dumps({k: v if isinstance(v, str) else list(v) for k, v in said.items()} | {"start": self.start, "by": self.by})


class MigrationRefused(Exception):
    """The database holds something that cannot be converted to this program's schema. Nothing was changed."""

    def __init__(self, refusals: Sequence[Step]) -> None:
        self.refusals = tuple(refusals)
        lines = "\n".join(f"- {step.object}: {step.refused}. Remedy: {step.remedy}" for step in refusals)
        super().__init__(f"This database cannot be migrated as it is. Nothing was changed.\n{lines}")


def plan_sql() -> str:
    """SQL that writes the plan to a temporary table, and changes nothing."""
    return "".join(f.read_text(encoding="utf-8") for f in sorted(_SQL.iterdir(), key=lambda f: f.name) if f.name < "50")


def apply_sql() -> str:
    """SQL that executes the plan's steps, or refuses. Runs after `plan_sql`, before the numbered migrations."""
    return (_SQL / "50_apply.sql").read_text(encoding="utf-8")


def finish_sql() -> str:
    """SQL for the steps that need the new tables and functions. Runs after the import."""
    return (_SQL / "60_finish.sql").read_text(encoding="utf-8")


def believe(connection: Connection, beliefs: Beliefs) -> None:
    """Set the beliefs for the rest of the transaction."""
    connection.execute(text("select set_config('ourvidz.believe', :said, true)"), {"said": beliefs.setting()})


def plan(connection: Connection, beliefs: Beliefs | None = None) -> list[Step]:
    """Return what a migration would do to this database, in order, refusals included. Changes nothing."""
    if beliefs is not None:
        believe(connection, beliefs)
    _run(connection, plan_sql())
    rows = connection.execute(text("select object, action, statement, refused, remedy from pg_temp.plan order by phase, n"))
    return [Step(*row) for row in rows]


def apply(connection: Connection, beliefs: Beliefs | None = None) -> list[Step]:
    """Plan, and do what the numbered migrations need of it. Raises `MigrationRefused`, with nothing changed."""
    steps = plan(connection, beliefs)
    if refusals := [step for step in steps if step.refused]:
        raise MigrationRefused(refusals)
    _run(connection, apply_sql())
    return steps


def finish(connection: Connection) -> None:
    """Do the rest of the plan, once the legacy system's jobs are imported."""
    _run(connection, finish_sql())


def _run(connection: Connection, sql: str) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute(sql)
