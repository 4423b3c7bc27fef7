"""Parse what a numbered migration's SQL changes: tables, columns, constraints, indexes and types. Read from the text, and from the catalogs
where a statement says `if [not] exists`. Not read: what a DO block decides for itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from ourvidz.db import statements

_NAME = r"(?P<guard>if (?:not )?exists )?(?P<name>[\w.\"]+)"
_ALTER = re.compile(rf"alter table (?:only )?{_NAME} (?P<changes>.*)", re.IGNORECASE)
_IN_TABLE = r"alter table (?P<on>[\w.]+)"
_RELATION = "select to_regclass(:name) is not null"
_COLUMN = "select exists (select from pg_attribute where attrelid = to_regclass(:on) and attname = :name and not attisdropped)"
_INDEXED = """select format('%s.%s', relnamespace::regnamespace, relname) from pg_index join pg_class on pg_class.oid = indrelid
              where indexrelid = to_regclass(:name)"""
_CONSTRAINT = "select exists (select from pg_constraint where conrelid = to_regclass(:on) and conname = :name)"
_STATEMENTS = [
    # Pattern of a bare statement, action, kind of object, and the query that tells if the object exists (:name, :on).
    (re.compile(pattern, re.IGNORECASE), action, kind, look)
    for pattern, action, kind, look in (
        (rf"create table {_NAME}", "create", "table", _RELATION),
        (rf"create (?:unique )?index {_NAME} on (?:only )?(?P<on>[\w.]+)", "create", "index", _RELATION),
        (rf"create type {_NAME}", "create", "type", "select to_regtype(:name) is not null"),
        (rf"create schema {_NAME}", "create", "schema", "select to_regnamespace(:name) is not null"),
        (rf"create sequence {_NAME}", "create", "sequence", _RELATION),
        (rf"create (?:or replace )?view {_NAME}", "create", "view", _RELATION),
        (rf"drop table {_NAME}", "drop", "table", _RELATION),
        (rf"drop index {_NAME}", "drop", "index", _RELATION),
        (rf"drop view {_NAME}", "drop", "view", _RELATION),
        (r"drop function (?P<guard>if exists )?(?P<name>[\w.]+\([^)]*\))", "drop", "function", "select to_regprocedure(:name) is not null"),
        (rf"drop trigger {_NAME} on (?P<on>[\w.]+)", "drop", "trigger", "select exists (select from pg_trigger where tgname = :name)"),
        (rf"{_IN_TABLE} add column {_NAME}", "add", "column", _COLUMN),
        (rf"{_IN_TABLE} drop column {_NAME}", "drop", "column", _COLUMN),
        (rf"{_IN_TABLE} alter column {_NAME}", "alter", "column", _COLUMN),
        (rf"{_IN_TABLE} add constraint {_NAME}", "add", "constraint", _CONSTRAINT),
        (rf"{_IN_TABLE} drop constraint {_NAME}", "drop", "constraint", _CONSTRAINT),
        (rf"{_IN_TABLE} add (?P<name>check|primary key|unique|foreign key)\b", "add", "constraint", ""),
        (r"alter table (?P<name>[\w.]+)", "alter", "table", ""),
        (r"(?:insert into|delete from|update) (?P<name>[\w.]+)", "write", "rows of", ""),
    )
]


@dataclass(frozen=True)
class Change:
    """`kind` is table, column, index …; `object` its name; `table` the table itself, or the one that it belongs to."""

    action: str
    kind: str
    object: str
    table: str


def changes(connection: Connection, sql: str) -> Iterator[Change]:
    """Yield the changes of each statement. Statements that would find nothing to do are left out."""
    for statement in _one_by_one(sql):
        for pattern, action, kind, look in _STATEMENTS:
            if match := pattern.match(statement):
                found = match.groupdict()
                if (action, kind) == ("drop", "index"):  # the statement does not name the table
                    found["on"] = connection.execute(text(_INDEXED), {"name": found["name"]}).scalar() or ""
                if not found.get("guard") or _there(connection, look, found) is (action in ("drop", "alter")):
                    yield Change(action, kind, _named(kind, found), found.get("on") or found["name"])
                break


def _one_by_one(sql: str) -> Iterator[str]:
    for statement in map(statements.bare, statements.split(sql)):
        match = _ALTER.match(statement)
        yield from (f"alter table {match['name']} {one}" for one in statements.separated(match["changes"])) if match else (statement,)


def _named(kind: str, found: dict[str, str]) -> str:
    if kind in ("column", "constraint"):
        return f"{found['on']}.{found['name']}"
    return f"{found['name'].rpartition('.')[2]} on {found['on']}" if kind in ("index", "trigger") else found["name"]


def _there(connection: Connection, look: str, found: dict[str, str]) -> bool:
    on, name = found.get("on") or "", found["name"]
    if look is _RELATION and on and "." not in name:
        name = f"{on.partition('.')[0]}.{name}"  # an index lies in its table's schema
    return bool(connection.execute(text(look), {"on": on, "name": name} if ":on" in look else {"name": name}).scalar())
