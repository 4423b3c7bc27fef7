"""Schema objects, which hold no rows of their own (functions, views, triggers, policies, grants), and the copies of the Python tables: list
this program's, find those of the database, and apply the difference (docs/decisions/0028).

`ourvidz.schema_objects` stores each object's digest and the release that applied it. `sql/release.json` numbers the whole set: `make docs`
adds one when any digest changed. An older release never replaces a newer one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from importlib import resources

from sqlalchemy import Connection, text

from ourvidz.db import schema_files, statements

_APPLY = resources.files("ourvidz.db") / "sql" / "apply"
RELEASE_FILE = resources.files("ourvidz.db") / "sql" / "release.json"

LIMITS = "limits.sql"
REPLICA_GUARD = "replica_guard"
EVERY_TIME = ("roles.sql", "signup.sql", "realtime.sql", "planner.sql", "identity.sql", "own.sql", "grants.sql", LIMITS, "policies.sql")
"""Scripts that only add what is missing (and grants, which are set whole): they run whenever anything is applied."""


@dataclass(frozen=True)
class SchemaObject:
    """One object that is replaced as a unit. `kind`: script, function, view, trigger, rows or policies (the table of them)."""

    kind: str
    name: str
    sql: str

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(statements.bare(self.sql).encode()).hexdigest()


class Standing(StrEnum):
    """State of the database's schema objects, compared with this program's."""

    CURRENT = "current"
    OLDER = "older"
    NEWER = "newer"


@dataclass(frozen=True)
class Release:
    """The number of a set of schema objects, and the digest of them all. 0: from before sets were numbered."""

    number: int
    digest: str


def objects() -> list[SchemaObject]:
    """All schema objects of this program, in the order in which they are applied."""
    rows = [SchemaObject("rows", table, schema_files.copying(table, rows)) for table, rows in schema_files.tables().items()]
    files = _in_files(tuple(schema_files.parts()))
    # Limits are read from a copied table.
    return [*(one for one in files if one.name != LIMITS), *rows, *(one for one in files if one.name == LIMITS)]


@lru_cache(maxsize=2)
def _in_files(parts: tuple[tuple[str, str], ...]) -> list[SchemaObject]:
    """Parse the files, cached: it takes a tenth of a second, and a migration asks several times."""
    found: list[SchemaObject] = []
    for part, body in parts:
        if part.startswith(("functions/", "views/")) or part == "triggers.sql":
            found += _parsed(part, body)
        else:
            found.append(SchemaObject("policies" if part == "policies.sql" else "script", part, body))
    return found


def _parsed(part: str, body: str) -> list[SchemaObject]:
    """A file's functions, views or triggers, each with the comment above it. Raises ValueError for any other statement."""
    found: dict[str, SchemaObject] = {}
    for statement in statements.split(body):
        kind, name = _identity(part, statements.bare(statement))
        found[name] = SchemaObject(kind, name, f"{statement};\n{_enabled(name)}" if kind == "trigger" else statement)
    guarded = dict.fromkeys(one.name.partition(" on ")[2] for one in found.values() if one.kind == "trigger")
    return [*found.values(), *map(_replica_guard, guarded)]


def _enabled(trigger: str, how: str = "enable") -> str:
    """SQL that sets a trigger's state: creating it again would leave it enabled or disabled as before."""
    name, _, table = trigger.partition(" on ")
    return f"alter table {table} {how} trigger {name}"


def _replica_guard(table: str) -> SchemaObject:
    """Return a guard for a table that has triggers, because none of those fires for a session with session_replication_role = replica."""
    name = f"{REPLICA_GUARD} on {table}"
    fires = f"create or replace trigger {REPLICA_GUARD} before insert or update or delete or truncate on {table}"
    made = f"{fires}\n  for each statement execute function ourvidz.replica_guard()"
    return SchemaObject("trigger", name, f"{made};\n{_enabled(name, 'enable replica')}")


def _identity(part: str, bare: str) -> tuple[str, str]:
    words = bare.split()
    lower = [word.lower() for word in words]
    rest = words[3:] if lower[:3] == ["create", "or", "replace"] else words[1:] if lower[0] == "create" else []
    match (rest[0].lower() if rest else "", lower):
        case ("function" | "aggregate" | "procedure", _):
            header = " ".join(rest[1:])
            return "function", f"{header.partition('(')[0].strip()}({', '.join(statements.arguments(header))})"
        case ("view", _):
            return "view", rest[1]
        case ("trigger", _):
            return "trigger", f"{rest[1]} on {words[lower.index('on') + 1]}"
    raise ValueError(f"{part}: a function, view or trigger was expected, not `{bare[:60]}`: other statements need a script of their own")


def digest(of: list[SchemaObject]) -> str:
    """Return 64 hex digits that change when any object or the list of numbered migrations does."""
    lines = [f"migration {name}" for name in schema_files.migrations()] + [f"{one.kind} {one.name} {one.digest}" for one in of]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Numbered:
    """Contents of `sql/release.json`: the release, the digest it was numbered for, and a hash of the files themselves, comments
    included."""

    release: int
    digest: str
    text: str


def numbered() -> Numbered:
    return Numbered(**json.loads(RELEASE_FILE.read_text(encoding="utf-8")))


def next_numbered() -> str:
    """Return the text that `sql/release.json` should have: the number grows by one when the digest changed. In a file that a merge left
    with conflict markers, the highest number counts, so that `make docs` once more resolves it."""
    before, now = RELEASE_FILE.read_text(encoding="utf-8"), digest(objects())
    number = max(int(n) for n in re.findall(r'"release": (\d+)', before))
    number += 0 if f'"digest": "{now}"' in before and "<<<<<<<" not in before else 1
    return json.dumps(Numbered(number, now, _text()).__dict__, indent=2) + "\n"


def _text() -> str:
    said = json.dumps([schema_files.migrations(), [body for _, body in schema_files.parts()], schema_files.tables()], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def release() -> Release:
    """Return this program's release. If the SQL was changed and `make docs` has not run yet, the number is the last one's."""
    file = numbered()
    # If the files are as they were numbered, their digest is known without parsing them.
    return Release(file.release, file.digest if file.text == _text() else digest(objects()))


def found(connection: Connection) -> Release | None:
    """Return the database's release; None if it has no schema objects of this program."""
    if connection.execute(text("select to_regclass('ourvidz.schema_objects')")).scalar() is not None:
        row = connection.execute(text("select release, digest from ourvidz.schema_objects where kind = 'layer'")).one_or_none()
        if row is not None:
            return Release(row.release, row.digest)
    before = connection.execute(text("select to_regprocedure('ourvidz.now()') is not null")).scalar()
    return Release(0, "") if before else None


def serves(connection: Connection) -> bool:
    """Check if a database of a newer release serves this program: its ourvidz.oldest_served() is the oldest release that it serves. One
    without that function serves all."""
    if connection.execute(text("select to_regprocedure('ourvidz.oldest_served()')")).scalar() is None:
        return True
    oldest: int = connection.execute(text("select ourvidz.oldest_served()")).scalar_one()
    return oldest <= numbered().release


def standing(connection: Connection) -> Standing:
    there, ours = found(connection), release()
    if there is not None and there.digest == ours.digest:
        return Standing.CURRENT
    return Standing.NEWER if there is not None and there.number > ours.number else Standing.OLDER


def apply(connection: Connection) -> bool:
    """Bring the database's schema objects to this program's: replace only what differs, drop what no longer exists, and apply again what
    has drifted. True when anything was done; False if the database is current, or newer."""
    schema_files.script(connection, lock())
    there = standing(connection)
    if there is Standing.NEWER or (there is Standing.CURRENT and not drift(connection)):
        return False
    schema_files.script(connection, applying())
    return True


@dataclass(frozen=True)
class Drift:
    """One object that is not as `migrate` left it. `what`: missing, or which of its owner, rights, definition … differ."""

    kind: str
    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.what}"


def drift(connection: Connection) -> list[Drift]:
    """Find what a restore without owners, rights or roles, or a person, changed of what `migrate` had applied. Reads the catalogs alone."""
    if connection.execute(text("select to_regclass('ourvidz.catalog_states')")).scalar() is None:
        return []
    with connection.begin_nested() as tried:
        schema_files.script(connection, helpers())
        found = [Drift(*row) for row in connection.execute(text("select kind, name, what from pg_temp.drift() order by 1, 2"))]
        tried.rollback()
    return found


def lock() -> str:
    """SQL that makes concurrent migrations run one after the other, until the transaction ends; works through a transaction pooler too."""
    return (resources.files("ourvidz.db") / "sql" / "migrate_lock.sql").read_text(encoding="utf-8")


def applying() -> str:
    """SQL that applies this program's schema objects to any database that has its tables: run in one transaction; repeatable."""
    return "".join(_applying())


def _applying() -> Iterator[str]:
    wanted, whole = objects(), release()
    yield "create temp table wanted_objects (n integer, kind text, name text, digest text, each_time boolean, body text) on commit drop;\n"
    yield "insert into wanted_objects values\n"
    for n, one in enumerate(wanted):
        assert "$object$" not in one.sql, one.name
        yield f"({n}, '{one.kind}', '{one.name}', '{one.digest}', {str(one.name in EVERY_TIME).lower()}, $object$\n{one.sql}\n$object$),\n"
    yield f"({len(wanted)}, 'layer', 'layer', '{whole.digest}', false, '{whole.number}');\n\n"
    yield helpers() + dict(scripts())["apply/02_apply.sql"]


def helpers(*, shapes: bool = False) -> str:
    """SQL of the temporary functions that applying and `migrate --check` share; with `shapes`, also of those that only the latter needs."""
    files = dict(scripts())
    return files["apply/01_helpers.sql"] + (files["apply/03_shapes.sql"] if shapes else "")


def scripts() -> Iterator[tuple[str, str]]:
    """Name and text of the SQL that applies schema objects."""
    for file in sorted(_APPLY.iterdir(), key=lambda file: file.name):
        yield f"apply/{file.name}", file.read_text(encoding="utf-8")
