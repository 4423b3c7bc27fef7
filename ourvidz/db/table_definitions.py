"""The shape of a project's tables as SQL statements: stored before a switch, and compared with the database on the way back
(docs/decisions/0035)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from psycopg.rows import dict_row
from sqlalchemy import Connection, text

# Kinds that the statement alone replaces, without dropping the old one first.
_REPLACED = {"owner", "security", "type", "default", "not null", "view", "function", "function owner", "replica identity"}


@dataclass(frozen=True)
class Part:
    """`made` creates it, `gone` drops it (None: it cannot be dropped). `n` is its place in the order of creation."""

    n: int
    made: str
    gone: str | None


Shape = Mapping[tuple[str, str], Part]  # (kind, object)


def sql(name: str) -> str:
    return (resources.files("ourvidz.db") / "sql" / "cutover" / f"{name}.sql").read_text(encoding="utf-8")


def run(connection: Connection, statements: str) -> list[dict[str, Any]]:
    """Run SQL verbatim, percent signs included; return the rows of its last statement."""
    driver: Any = connection.connection.driver_connection
    with driver.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statements)
        while cursor.nextset():
            pass
        return list(cursor.fetchall()) if cursor.description else []


def read(connection: Connection) -> Shape:
    """Read the shape of schema public, and of triggers on auth.users. Every name is qualified."""
    before = connection.execute(text("select current_setting('search_path')")).scalar()
    run(connection, "set local search_path = pg_catalog, pg_temp")
    found = run(connection, sql("shape"))
    connection.execute(text("select set_config('search_path', :before, true)"), {"before": before})
    return {(r["kind"], r["object"]): Part(r["n"], r["made"], r["gone"]) for r in found}


def statements(before: Shape, now: Shape) -> tuple[list[str], list[str]]:
    """Return the statements that turn `now` into `before`: first the drops, then what is created again. Columns that were added stay."""
    differs = [key for key, part in before.items() if key not in now or now[key].made != part.made]
    extra = [key for key, part in now.items() if key not in before and part.gone is not None]
    dropped = [key for key in differs if key in now and key[0] not in _REPLACED and now[key].gone is not None]
    away = sorted((now[key] for key in [*extra, *dropped]), key=lambda part: -part.n)
    back = sorted((before[key] for key in differs), key=lambda part: part.n)
    return [str(part.gone) for part in away], [part.made for part in back]


def keep(connection: Connection) -> int:
    """Store the shape as it is now in schema ourvidz_before, in place of an earlier one. Returns how many parts it has."""
    run(
        connection,
        """create schema if not exists ourvidz_before; revoke all on schema ourvidz_before from public;
           drop table if exists ourvidz_before.shape;
           create table ourvidz_before.shape (kind text, object text, n integer, made text, gone text, at timestamptz default now(),
                                              primary key (kind, object))""",
    )
    rows = [{"kind": k, "object": o, "n": p.n, "made": p.made, "gone": p.gone} for (k, o), p in read(connection).items()]
    insert = "insert into ourvidz_before.shape (kind, object, n, made, gone) values (:kind, :object, :n, :made, :gone)"
    connection.execute(text(insert), rows)
    return len(rows)


def kept(connection: Connection) -> Shape | None:
    """Return the stored shape; None if no switch stored one."""
    if connection.execute(text("select to_regclass('ourvidz_before.shape')")).scalar() is None:
        return None
    rows = connection.execute(text("select kind, object, n, made, gone from ourvidz_before.shape"))
    return {(r.kind, r.object): Part(r.n, r.made, r.gone) for r in rows}
