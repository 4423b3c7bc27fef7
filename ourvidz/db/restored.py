"""Implement `ourvidz restored`, for a database whose rows came from another one (docs/restore.md, docs/decisions/0053)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection, text

from ourvidz.db.connection import Database
from state.errors import DatabaseIsCopy

if TYPE_CHECKING:
    from ourvidz.db.migration_plan import Step

Way = Literal["restored", "copied"]

SAID = "This database was restored, moved or copied from another one, and nobody has said yet which of the two goes on"
REMEDY = (
    "Run `ourvidz restored --replaces` if this one takes the other's place, or `ourvidz restored --copy` if the other one goes on and "
    "this one is a copy (docs/restore.md)"
)


@dataclass(frozen=True)
class Identity:
    id: str
    how: str  # made | restored | copied


@dataclass(frozen=True)
class Whole:
    """Result of `make_whole`: the steps to this program's release, what was settled → how many, and the database's identity now."""

    steps: list[Step]
    done: Mapping[str, int] = field(default_factory=dict)
    identity: Identity | None = None


def identity(connection: Connection) -> Identity | None:
    """Return the identity; None in a database from before it had one, and in one whose rows are not there yet."""
    if connection.execute(text("select to_regclass('ourvidz.identities')")).scalar() is None:
        return None
    row = connection.execute(text("select id::text, how from ourvidz.identities order by n desc limit 1")).one_or_none()
    return None if row is None else Identity(row.id, row.how)


def is_copy(connection: Connection) -> bool:
    """Check if its rows came from another database, and nobody has said yet what it is. False in one from before that was recorded."""
    if connection.execute(text("select to_regprocedure('ourvidz.is_copy()')")).scalar() is None:
        return False
    return bool(connection.execute(text("select ourvidz.is_copy()")).scalar())


def settle(connection: Connection, way: Way, *, keep_jobs: bool) -> dict[str, int]:
    """Make it a database of its own, in `connection`'s transaction; its schema is at this program's release. Returns what was done → how
    many."""
    found = connection.execute(text("select what, n from ourvidz.restored(:way, :keep_jobs)"), {"way": way, "keep_jobs": keep_jobs})
    return {row.what: row.n for row in found}


def make_whole(database: Database, way: Way, *, keep_jobs: bool, tell: Callable[[str], object]) -> Whole:
    """Bring it to this program's release and settle it, in one transaction that gives way to holders of the locks it needs: the programs
    that wait for it read the same tables. Nothing is done if a step is refused."""
    from ourvidz.db import lock_retry, migrate, migration_plan  # loads alembic, which most commands do not need

    def work(connection: Connection) -> Whole:
        steps = migration_plan.steps(connection)
        if any(step.refused for step in steps):
            return Whole(steps)
        migrate.migrate(connection, lock_timeout=None)
        done = settle(connection, way, keep_jobs=keep_jobs)
        return Whole(steps, done, identity(connection))

    return lock_retry.give_way(database, work, tell=tell, what="`ourvidz restored`")


def analyze(database: Database) -> int:
    """Collect statistics, which no dump contains: without them the first plans are guesses. Returns how many tables were analyzed."""
    sql = """select c.oid::regclass::text as name from pg_class as c where c.relkind = 'r' and pg_has_role(c.relowner, 'usage')
             and (c.relnamespace = 'ourvidz'::regnamespace
                  or c.relnamespace = 'public'::regnamespace and c.relname = any (ourvidz.our_relations()))"""
    names = [row["name"] for row in database.rows(sql)]
    for name in names:
        database.rows(f"analyze {name}")
    return len(names)


def logins_missing(database: Database) -> list[str]:
    """Return logins of executors that the rows name and this server does not have: passwords are in no dump of a database."""
    sql = "select name::text from ourvidz.logins as l where not exists (select from pg_roles as r where r.rolname = l.name) order by 1"
    return [row["name"] for row in database.rows(sql)]


def undecided() -> DatabaseIsCopy:
    return DatabaseIsCopy(f"{SAID}. {REMEDY}.")
