"""Policies on Supabase's storage: find those that expose private objects, and drop or report them in `migrate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources

from sqlalchemy import Connection, text

from ourvidz.db import schema_files

_FUNCTIONS = ("storage_allows", "storage_callers", "storage_probes", "storage_probe", "storage_leaks")


@dataclass(frozen=True)
class Leak:
    """A policy that lets `lets` ("anon delete", "another user select" …) happen in `buckets`. `dropped`: None if no drop was tried."""

    policy: str
    relation: str
    lets: Sequence[str]
    buckets: Sequence[str]
    remedy: str
    dropped: bool | None = None

    def __str__(self) -> str:
        callers = ("anon", "another user", "its owner", "another user before delivery", "its owner before delivery")
        verbs = {who: [w.rpartition(" ")[2] for w in self.lets if w.rpartition(" ")[0] == who] for who in callers}
        said = "; ".join(f"{who} {', '.join(some)}" for who, some in verbs.items() if some)
        return f'policy "{self.policy}" on {self.relation} lets {said} in {names(self.buckets)}'


@dataclass(frozen=True)
class Applied:
    """Result of applying the policies on storage. `statements`: those that this role may not run, for somebody who may."""

    leaks: Sequence[Leak]
    statements: Sequence[str]


def names(buckets: Sequence[str]) -> str:
    """Format the names of buckets: all of them if they are few enough to be read."""
    return ", ".join(buckets) if len(buckets) < 6 else f"{', '.join(buckets[:3])} and {len(buckets) - 3} other buckets"


def leaks(connection: Connection) -> list[Leak]:
    """Return the policies that expose private objects, also in a database that was never migrated. Changes nothing."""
    if connection.execute(text("select to_regclass('storage.objects')")).scalar() is None:
        return []
    with connection.begin_nested() as undone:
        # Use this program's own functions: the database may have older ones, or none.
        connection.execute(text("set local check_function_bodies = off"))
        folder = resources.files("ourvidz.db") / "sql" / "functions" / "storage"
        for name in _FUNCTIONS:
            schema_files.script(
                connection, (folder / f"{name}.sql").read_text(encoding="utf-8").replace("ourvidz.storage_", "pg_temp.storage_")
            )
        found = _read(connection, "pg_temp.storage_leaks(cast(:ours as jsonb))", "null::boolean")
        undone.rollback()
    return found


def apply(connection: Connection, *, keep: bool = False) -> Applied:
    """Create our policies, and drop those that expose private objects. `keep`: leave those, but report them all the same."""
    statements = list(connection.execute(text("select * from ourvidz.storage_policies()")).scalars())
    if keep:
        found = _read(connection, "ourvidz.storage_leaks(cast(:ours as jsonb))", "null::boolean")
    else:
        found = _read(connection, "ourvidz.drop_storage_leaks()", "dropped")
    return Applied(found, statements + [leak.remedy for leak in found if leak.dropped is False])


def waking(connection: Connection, missing: Sequence[str]) -> dict[str, list[Leak]]:
    """Return the buckets that are to be created → the policies that would expose what will be stored in them."""
    found = leaks(connection)
    hit = {name: [replace(leak, buckets=(name,)) for leak in found if name in leak.buckets] for name in missing}
    return {name: some for name, some in hit.items() if some}


def _read(connection: Connection, call: str, dropped: str) -> list[Leak]:
    given = {"ours": json.dumps(schema_files.buckets())} if ":ours" in call else {}
    # `call` and `dropped` are this module's own words.
    query = f"select policy, relation::text, lets, buckets, remedy, {dropped} as dropped from {call}"  # noqa: S608
    rows = connection.execute(text(query), given)
    return [Leak(**row) for row in rows.mappings()]
