"""Indexes that a migration brings to a large table are built before it, `concurrently`: everybody reads and writes meanwhile. Built in the
migration's own transaction, each makes all writes to its table wait until it is done.

An index that cannot be built ahead is left to the migration, which says what is wrong: it needs a column that is still to come, or somebody
holds a transaction open for longer than is waited for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
from sqlalchemy import Connection, text

from ourvidz.db import foresee, migrate, statements
from ourvidz.db.connection import Database
from ourvidz.db.giving_way import NAME

log = logging.getLogger("ourvidz.db")

LARGE = 32 * 2**20  # bytes of a table; one that is smaller is indexed in less than a second
PATIENCE = 60.0  # seconds for which transactions that began before are waited for
_CREATE = re.compile(
    r"create (?P<unique>unique )?index if not exists (?P<name>\w+) on (?P<table>(?P<schema>\w+)\.\w+) (?P<rest>.+)", re.IGNORECASE
)
# `broken`: what a build that was broken off leaves. Postgres has it kept up to date, never uses it, and takes it for the index.
_FOUND = """
select pg_table_size(t.oid) as bytes, i.indexrelid is not null as there,
       not i.indisvalid and not exists (select from pg_stat_progress_create_index where index_relid = i.indexrelid) as broken
from pg_class as t left join pg_index as i on i.indexrelid = to_regclass(:index)
where t.oid = to_regclass(:table) and t.relkind = 'r'
"""


@dataclass(frozen=True)
class Index:
    name: str  # with its schema
    table: str
    create: str
    broken: bool


def build(database: Database, tell: Callable[[str], object] = log.info) -> None:
    """Build what the missing migrations would build on large tables; nothing where they would be refused."""
    for index in wanted(database):
        tell(f"Building the index {index.name} on {index.table}; jobs go on meanwhile.")
        with database.driver() as connection:
            try:
                # A DBA's limit is for applications. The lock is waited for as a transaction's end is: nobody queues behind either.
                connection.execute(f"set statement_timeout = 0; set lock_timeout = '{PATIENCE:.0f}s'; set application_name = '{NAME}'")
                if index.broken:
                    connection.execute(f"drop index concurrently if exists {index.name}")
                connection.execute(index.create)
            except psycopg.OperationalError as error:  # a limit of time, a deadlock, a server that is going down
                why = str(error).splitlines()[0]
                tell(f"{index.name} could not be built ahead ({why}): the migration builds it, and writes wait meanwhile.")
            except (psycopg.ProgrammingError, psycopg.IntegrityError) as error:  # no such column yet, no right, two rows of one key
                log.info("%s is left to the migration: %s", index.name, error)
            finally:
                if not connection.closed:
                    connection.execute("reset statement_timeout; reset lock_timeout; reset application_name")


def wanted(database: Database) -> list[Index]:
    """What to build ahead: what large tables lack, and what is broken."""
    with database.transaction() as connection:
        found = [index for index, size in _missing(connection) if index.broken or size >= LARGE]
        return [] if found and any(step.refused for step in foresee.steps(connection)) else found


def drop_broken(connection: Connection) -> None:
    """In the migration's transaction, before its `create index if not exists`, which would take them for the indexes."""
    for index, _ in _missing(connection):
        if index.broken:
            connection.execute(text(f"drop index if exists {index.name}"))


def _missing(connection: Connection) -> Iterator[tuple[Index, int]]:
    """Indexes of missing migrations that are not there, or broken, on tables that are; and the table's size."""
    for sql in (sql for script in migrate.missing(connection) for sql in migrate.sql_of(script)):
        for match in filter(None, map(_CREATE.match, map(statements.bare, statements.split(sql)))):
            name, table = f"{match['schema']}.{match['name']}", match["table"]
            row = connection.execute(text(_FOUND), {"index": name, "table": table}).one_or_none()
            if row and (row.broken or not row.there):
                create = f"create {match['unique'] or ''}index concurrently if not exists {match['name']} on {table} {match['rest']}"
                yield Index(name, table, create, bool(row.broken)), row.bytes
