"""Build a migration's indexes on large tables before it, `concurrently`, so that reads and writes go on. Built in the migration's own
transaction, each would block all writes to its table until it is done.

The migration builds what cannot be built ahead: an index on a column that the migration adds, any index while another session keeps a
transaction open for longer than `PATIENCE`, and all of them behind a pooler, since a concurrent build needs one session.

An interrupted build leaves an invalid index: Postgres updates it and never reads it, and `create index if not exists` skips it by its name.
So each migration ends with `rebuild_invalid`.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import psycopg
from sqlalchemy import Connection, text

from ourvidz.db import migrate, migration_plan, statements
from ourvidz.db.connection import Database, translate
from ourvidz.db.lock_retry import NAME, give_way
from ourvidz.db.lock_retry import PATIENCE as LONGEST
from ourvidz.db.session import connect

log = logging.getLogger("ourvidz.db")

LARGE = 32 * 2**20  # bytes of a table; a smaller one is indexed in less than a second
PATIENCE = 60.0  # seconds to wait for earlier transactions, in each of a build's three waits
_CREATE = re.compile(
    r"create (?P<unique>unique )?index if not exists (?P<name>\w+) on (?P<table>(?P<schema>\w+)\.\w+) (?P<rest>.+)", re.IGNORECASE
)
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


def build(database: Database, tell: Callable[[str], object] = log.info, *, patience: float = LONGEST) -> None:
    """Build what the missing migrations would build on large tables; nothing if they would be refused. Raises what `give_way` raises."""
    for index in give_way(database, wanted, patience=patience, tell=tell):
        began = time.monotonic()
        tell(f"Building the index {index.name} on {index.table}; jobs go on meanwhile.")
        if why := _build(database, index, min(PATIENCE, patience)):
            tell(f"{index.name} could not be built ahead ({why}): the migration builds it, and writes wait meanwhile.")
            return  # the next one would meet the same obstacle
        log.info("%s was built in %.0f s.", index.name, time.monotonic() - began)


def wanted(connection: Connection) -> list[Index]:
    """Return the indexes to build ahead: those that large tables lack, and those that are broken there."""
    found = [index for index, size in _missing(connection) if size >= LARGE]
    return [] if found and any(step.refused for step in migration_plan.steps(connection)) else found


def _build(database: Database, index: Index, wait: float) -> str:
    """Build an index on a connection of its own, because it sets limits. Returns why it failed; empty if it was built, or if the migration
    will say why."""
    try:
        with connect(database.url, application_name=NAME) as connection:
            if connection.execute("select pg_backend_pid()").fetchone() != (connection.info.backend_pid,):
                return "the connection goes through a pooler"
            # A DBA's limit is meant for applications. Waiting for the lock is like waiting for a transaction to end: nobody queues behind
            # either.
            connection.execute(f"set statement_timeout = 0; set lock_timeout = '{wait * 1000:.0f}ms'")
            # Not dropped and created again: another migration may have rebuilt it since `wanted` looked, and a failed build would lose it.
            connection.execute(f"reindex index concurrently {index.name}" if index.broken else index.create)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.QueryCanceled) as error:
        return str(error).splitlines()[0]
    except (psycopg.ProgrammingError, psycopg.IntegrityError) as error:  # no such column yet, no right, two rows of one key
        log.info("%s is left to the migration: %s", index.name, error)
    except psycopg.Error as error:
        raise database.noted(translate(error, sent=False)) from error
    return ""


def _missing(connection: Connection) -> Iterator[tuple[Index, int]]:
    """Yield the indexes of missing migrations that are absent or broken, on tables that exist; and the table's size."""
    for sql in (sql for script in migrate.missing(connection) for sql in migrate.sql_of(script)):
        for match in _created(sql):
            name, table = f"{match['schema']}.{match['name']}", match["table"]
            row = connection.execute(text(_FOUND), {"index": name, "table": table}).one_or_none()
            if row and (row.broken or not row.there):
                create = f"create {match['unique'] or ''}index concurrently if not exists {match['name']} on {table} {match['rest']}"
                yield Index(name, table, create, bool(row.broken)), row.bytes


def _created(sql: str) -> Iterator[re.Match[str]]:
    return filter(None, map(_CREATE.match, map(statements.bare, statements.split(sql))))


@cache
def rebuild_invalid() -> str:
    """SQL that reindexes the invalid indexes of our migrations and drops the `_ccnew` indexes of an interrupted `reindex concurrently`. It
    waits for a running build."""
    names = sorted({match["name"] for script in migrate.missing(None) for sql in migrate.sql_of(script) for match in _created(sql)})
    return _REBUILD_INVALID.format(names=", ".join(f"'{name}'" for name in names))


_REBUILD_INVALID = """do $rebuild$
declare
  v_index regclass;
begin
  for v_index in
    select i.indexrelid from pg_index as i join pg_class as c on c.oid = i.indexrelid
    where not i.indisvalid and c.relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace)
      and regexp_replace(c.relname, '_cc(new|old)[0-9]*$', '') in ({names})
  loop
    if v_index::text ~ '_cc(new|old)[0-9]*$' then
      execute format('drop index %s', v_index);
    else
      execute format('reindex index %s', v_index);
    end if;
  end loop;
end
$rebuild$;
"""
