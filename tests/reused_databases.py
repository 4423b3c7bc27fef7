"""Reuse databases between tests: after each test, delete all rows it left.

A new database costs a test some 100 ms of CPU: copying and deleting its files, and each new connection reads the catalog and compiles the
functions. Reused connections stay open with their caches. A database is reused only if one query shows that nothing has changed but the
rows of tables that are empty after `migrate`: no catalog, no row that `migrate` wrote, no setting, and that nobody else is connected.
Otherwise it is dropped, as it is after a test marked `new_database`.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from support import Server

from ourvidz.db.connection import Database
from ourvidz.db.session import connect

USES = 300  # dead rows and their index entries cost more with each use
ROWS = 3000  # limit left by one test: a table of many pages gets other plans than a new one
TRIES = 3
AT_MOST = 3  # connections kept open for the next test
EXITING = 1.0  # seconds within which a connection that its test has closed must be gone

SMALL = 100  # rows: a table up to this size is compared by content, and restored if a test changed a policy, a limit, a type

# Catalog → which of its rows to compare: of shared catalogs this database's, of large ones ours, by an index on the first column.
_DATABASE = "(select oid from pg_database where datname = current_database())"
CATALOGS = {
    "pg_proc": "true", "pg_class": "true", "pg_attribute": "attrelid >= 16384", "pg_attrdef": "true", "pg_constraint": "true",
    "pg_policy": "true", "pg_rewrite": "true", "pg_index": "true", "pg_type": "oid >= 16384", "pg_namespace": "true",
    "pg_description": "objoid >= 16384", "pg_inherits": "true", "pg_default_acl": "true", "pg_sequence": "true", "pg_extension": "true",
    "pg_event_trigger": "true", "pg_publication": "true", "pg_publication_rel": "true", "pg_statistic": "true", "pg_statistic_ext": "true",
    "pg_largeobject_metadata": "true", "pg_foreign_server": "true", "pg_enum": "true", "pg_operator": "oid >= 16384",
    "pg_db_role_setting": f"setdatabase = {_DATABASE}",
    "pg_subscription": f"subdbid = {_DATABASE}", "pg_seclabel": "true",
}  # fmt: skip
_TABLES = """select format('%I.%I', n.nspname, c.relname) from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
             where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"""
_SESSION = """reset session authorization; reset role; reset all; close all; unlisten *; deallocate all;
              select pg_advisory_unlock_all(); discard temp; discard sequences"""


@dataclass
class Recycled:
    """A database and its owner's open, idle connections. `look`: the superuser's connection that checks and empties it."""

    name: str
    open: list[Any] = field(default_factory=list)
    look: psycopg.Connection[Any] | None = None
    uses: int = 0


class Databases:
    """Copies of one template, and the state that every new copy has."""

    def __init__(self, server: Server, template: str) -> None:
        self._server, self._template = server, template
        self._idle: list[Recycled] = []
        self._dropped: Counter[object] = Counter()
        self._statement, self._as_new, self._rows = "", (), {}

    def take(self) -> Recycled:
        if self._idle:
            return self._idle.pop()
        found = Recycled(self._server.create(self._template))
        if not self._statement:
            look = self._look(found)
            self._statement, self._rows = _statement(look)
            self._as_new = self._run(look)
        return found

    def give_back(self, found: Recycled, by: object) -> None:
        """`by`: the kind of test. After TRIES drops in a row for one kind, its databases are dropped without a check."""
        if self._dropped[by] < TRIES and self._emptied(found):
            self._dropped[by] = 0
            self._idle.append(found)
        else:
            self._dropped[by] += 1
            self.drop(found)

    def drop(self, found: Recycled) -> None:
        for connection in [*found.open, *([found.look] if found.look else [])]:
            connection.close()
        self._server.drop(found.name)

    def close(self) -> None:
        for found in self._idle:
            self.drop(found)

    def _look(self, found: Recycled) -> psycopg.Connection[Any]:
        if found.look is None:
            found.look = psycopg.connect(self._server.url(found.name, superuser=True), autocommit=True, prepare_threshold=0)
            found.look.execute("set session_replication_role = replica")  # skips our tables' guards and foreign keys
        return found.look

    def _emptied(self, found: Recycled) -> bool:
        found.uses += 1
        try:
            look = self._look(found)
            if found.uses >= USES or not _alone(found, look):
                return False
            for connection in found.open:
                if connection.info.transaction_status != TransactionStatus.IDLE:
                    return False
                connection.execute(_SESSION)
            left, *state = self._run(look)
        except psycopg.Error:  # the test ended our connections or dropped the database, or changed an object that the query reads
            return False
        small = -len(self._rows)
        return left < ROWS and tuple(state[:small]) == self._as_new[1:small]

    def _run(self, look: psycopg.Connection[Any]) -> tuple[Any, ...]:
        """Delete rows and return the state, as in `_statement`, with each small table's digest from before it was restored."""
        # With session_replication_role = replica, rows may be deleted only in a database that is a copy of another: pose as one for the
        # duration, then restore what support.as_template left.
        with look.transaction():
            which = look.execute("select jsonb_agg(i)::text from ourvidz.identities as i").fetchone()
            look.execute("update ourvidz.identities set system_identifier = 0")
            result = look.execute(self._statement).fetchone() or ()
            small = -len(self._rows)
            for (table, rows), now, new in zip(self._rows.items(), result[small:], self._as_new[small:], strict=False):
                if now != new:
                    look.execute(f"delete from {table}")
                    with look.cursor().copy(f"copy {table} from stdin") as copy:
                        copy.write(rows)
            look.execute("update ourvidz.identities set system_identifier = null")
        return (result[0], which, *result[1:])


def _alone(found: Recycled, look: psycopg.Connection[Any]) -> bool:
    """Check that only we are connected, once connections just closed have gone, and that nothing else would outlast the test."""
    ours = [connection.info.backend_pid for connection in [*found.open, look]]
    others = """select exists (select from pg_stat_activity where datname = current_database() and pid <> all (%s))
                    or exists (select from pg_prepared_xacts where database = current_database())
                    or exists (select from pg_replication_slots where database = current_database())"""
    deadline = time.monotonic() + EXITING
    while look.execute(others, (ours,)).fetchone() != (False,):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _statement(look: psycopg.Connection[Any]) -> tuple[str, dict[str, bytes]]:
    """Return SQL that deletes the rows of all tables that are empty now and restarts all sequences; and the small tables with their rows.

    The SQL returns one row: the number of rows deleted; what must equal the current state (for each catalog and each large table the number
    of rows, and of rows written after now); and for each small table a digest of its content.
    """
    now = look.execute("select pg_current_xact_id()::xid::text").fetchone()[0]  # type: ignore[index]
    count = f"(select count(*) || ' ' || count(*) filter (where age(xmin) <= age('{now}'::xid)) from {{}} where {{}})"
    said = "(select md5(string_agg(t::text, ' ' order by t::text)) from {} as t)"
    deleted, kept = [], [count.format(f"pg_catalog.{name}", where) for name, where in CATALOGS.items()]
    small: dict[str, bytes] = {}
    for (table,) in look.execute(_TABLES).fetchall():
        rows = look.execute(f"select count(*) from {table}").fetchone()[0]  # type: ignore[index]
        if rows == 0:
            deleted.append(table)
        elif rows > SMALL:
            kept.append(count.format(table, "true"))
        elif table != "ourvidz.identities":  # checked by _run
            with look.cursor().copy(f"copy {table} to stdout") as copy:
                small[table] = b"".join(copy)
    parts = [
        " + ".join(f"(select count(*) from d{number})" for number, _ in enumerate(deleted)),
        "(select sum(relpages) || ' ' || sum(reltuples) from pg_class where oid >= 16384)",  # VACUUM and ANALYZE write in place
        "(select sum(setval(seqrelid, seqstart, false)) from pg_sequence)",
        "(select row(datdba, datallowconn, datconnlimit, datacl)::text from pg_database where datname = current_database())",
        # Tests that tamper disable triggers and enable them again: compare the triggers' state, not whether they were written.
        "(select md5(string_agg(row(oid, tgrelid, tgname, tgfoid, tgtype, tgenabled)::text, '' order by oid)) from pg_trigger)",
        *kept,
        *(said.format(table) for table in small),
    ]
    deletes = ", ".join(f"d{number} as (delete from {table} returning 1)" for number, table in enumerate(deleted))
    return f"with {deletes} select {', '.join(parts)}", small


def opened(url: str, found: Recycled) -> Database:
    """`Database(url)`, whose first connections are the ones kept open."""
    database = Database(url)
    database.engine.pool._creator = lambda: found.open.pop() if found.open else connect(url)
    return database


def closed(database: Database, found: Recycled) -> None:
    """Keep its idle connections and stop it from making more: nothing of one test may leak into the next."""
    pool: Any = database.engine.pool

    def no_more() -> Any:
        raise RuntimeError(f"The test that had database {found.name} is over, and something of it still asks for a connection.")

    for _ in range(min(pool.checkedin(), AT_MOST)):
        with contextlib.suppress(Exception):  # if a connection is unusable, the next test makes its own
            connection = database.engine.raw_connection()
            raw = connection.driver_connection
            connection.detach()
            found.open.append(raw)
    database.engine.dispose()
    database.engine.pool._creator = no_more  # type: ignore[attr-defined]
