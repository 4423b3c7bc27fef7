"""Read the whole history for `ourvidz.audit`, in one snapshot and constant memory; and the one write that repairs a wrong row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row, tuple_row

from ourvidz.db.connection import Database, transaction_of
from state.errors import JobError

LOCK_TIMEOUT = "10s"
_BATCH = 2_000  # rows a server-side cursor hands over at once

# A timestamp that Python cannot hold (infinity, the year 20000) is read as null: it is a finding, not a crash of the audit.
_INSTANT = "case when occurred_at between '0001-01-02' and '9999-12-30' then occurred_at end as occurred_at"
_EVENTS = f"""select job_id::text as job_id, version, type, from_status, to_status, claim_no, actor, {_INSTANT}, data::text as data_text,
                     prev_hash, hash, submitted_on from public.job_events"""  # noqa: S608  (our own words)
_ROW = "select id::text as id, to_jsonb(j)::text as row from public.jobs as j"


_LIBRARY = {
    "images": "select id::text as id, image_index, status, image_url from public.images where job_id = %(job)s order by id",
    "videos": """select id::text as id, status, video_url, video_job_id::text as video_job_id, current_job_id::text as current_job_id
                 from public.videos where id = (select video_id from public.jobs where id = %(job)s)
                   and %(job)s in (video_job_id, current_job_id)""",
    "artifacts": "select kind, index, path from public.artifacts where job_id = %(job)s",
}


class HistoryBusy(JobError):
    """Rows cannot be repaired while others hold them. Try again when there is less going on."""

    sqlstate = "55P03"
    code = "history_busy"


@dataclass(frozen=True)
class StoredEvent:
    """An event as it is in the table, unverified: any field may have been changed."""

    job_id: str
    version: int
    type: str
    from_status: str | None
    to_status: str
    claim_no: int | None
    actor: str
    occurred_at: datetime | None
    data_text: str
    prev_hash: bytes
    hash: bytes
    submitted_on: Any


@dataclass(frozen=True)
class StoredJob:
    """A job's row (None if missing), and its events in version order (maybe none)."""

    id: str
    row: Mapping[str, Any] | None
    events: Sequence[StoredEvent]


class History:
    """Reads within one snapshot."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def jobs(self) -> Iterator[StoredJob]:
        """Yield every job that has a row or an event, by id. Rows and events come from two cursors that advance together."""
        by_job = f"{_EVENTS} order by job_events.job_id, version"
        with self._walk("rows", f"{_ROW} order by j.id") as rows, self._walk("events", by_job) as events:
            histories = groupby(map(_event, events), key=lambda e: e.job_id)
            row, history = next(rows, None), next(histories, None)
            while row is not None or history is not None:
                # Postgres orders uuids like their text.
                job_id = min(found for found in (row and row["id"], history and history[0]) if found)
                here = row is not None and row["id"] == job_id
                told = list(history[1]) if history is not None and history[0] == job_id else []
                yield StoredJob(job_id, json.loads(row["row"]) if row is not None and here else None, told)
                if here:
                    row = next(rows, None)
                if told:
                    history = next(histories, None)

    @contextmanager
    def _walk(self, name: str, sql: str) -> Iterator[Iterator[Any]]:
        with self._connection.cursor(name=name, row_factory=dict_row) as cursor:
            cursor.itersize = _BATCH
            cursor.execute(sql)
            yield iter(cursor)

    def job(self, job_id: str) -> StoredJob:
        cursor = self._connection.cursor(row_factory=dict_row)
        row = cursor.execute(f"{_ROW} where j.id = %s", (job_id,)).fetchone()
        told = cursor.execute(f"{_EVENTS} where job_id = %s order by version", (job_id,)).fetchall()
        return StoredJob(job_id, row and json.loads(row["row"]), [_event(e) for e in told])

    def library(self, job_id: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return the rows of images, videos and artifacts that refer to a job."""
        cursor = self._connection.cursor(row_factory=dict_row)
        return {name: cursor.execute(sql, {"job": job_id}).fetchall() for name, sql in _LIBRARY.items()}

    def hashes(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
        """Return the hashes of those (job, version) pairs that exist."""
        sql = """select e.job_id::text, e.version, e.hash from unnest(%s::uuid[], %s::integer[]) as w (job_id, version)
                 join public.job_events as e on e.job_id = w.job_id and e.version = w.version"""
        found = self._connection.cursor(row_factory=tuple_row).execute(sql, ([w[0] for w in wanted], [w[1] for w in wanted]))
        return {(job_id, version): bytes(digest) for job_id, version, digest in found}

    def last_version(self, job_id: str) -> int | None:
        """Return the highest version among the events that a job still has; None when none is left."""
        sql = "select max(version) from public.job_events where job_id = %s"
        found = self._connection.cursor(row_factory=tuple_row).execute(sql, (job_id,)).fetchone()
        return None if found is None else found[0]

    def identity(self) -> str:
        """Return the database's id."""
        return str(self._one("select id from ourvidz.identities order by n desc limit 1"))

    def settled(self) -> int:
        """Return the position in the order of events below which no event can appear any more."""
        return int(self._one("select ourvidz.settled_xid()::text"))

    def _one(self, sql: LiteralString) -> Any:
        found = self._connection.cursor(row_factory=tuple_row).execute(sql).fetchone()
        assert found is not None
        return found[0]

    def heads_after(self, cursor: tuple[int, int]) -> Iterator[tuple[str, int, bytes, int, int]]:
        """Yield (job, version, hash, xid, seq) of the newest event of each job that moved after `cursor`, (xid, seq).

        Only below the oldest running transaction: identity values are not assigned in commit order, and an event that is committed later
        must not end up behind the cursor.
        """
        sql = """select distinct on (job_id) job_id::text as id, version, hash, xid::text::bigint as xid, seq
                 from public.job_events
                 where (xid, seq) > (%s::text::xid8, %s) and xid < (select ourvidz.settled_xid())
                 order by job_id, version desc"""
        with self._connection.cursor(name="heads", row_factory=tuple_row) as walk:
            walk.itersize = _BATCH
            walk.execute(sql, cursor)
            for job_id, version, digest, xid, seq in walk:
                yield job_id, version, bytes(digest), xid, seq


@contextmanager
def snapshot(database: Database) -> Iterator[History]:
    """Read one instant of the database, for as long as the block lasts. Holds back vacuum meanwhile, and nobody else."""
    with database.driver() as connection, transaction_of(connection):
        connection.execute("set transaction isolation level repeatable read, read only")
        yield History(connection)


def sync_library(database: Database, job_ids: Sequence[str]) -> None:
    """Set the rows of images and videos of these jobs to what their events say."""
    with database.driver() as connection, transaction_of(connection):
        connection.execute("select ourvidz.sync_library(%s::uuid[])", (list(job_ids),))


class Repair(History):
    """Rows may be set to what their events say, while all other writers wait."""

    def set_row(self, job_id: str, columns: Mapping[str, Any]) -> None:
        """Write the folded columns; a job whose row is missing gets a new one, with what the legacy front end reads from its payload.
        `ready` follows from them and the clock."""
        changes = ", ".join(f"{column} = excluded.{column}" for column in (*columns, "ready") if column != "id")
        sql = f"""
          insert into public.jobs as j
          select whole.*
          from (select %s::jsonb as columns) as given
          left join ourvidz.job_types as kind on kind.name = given.columns->>'job_type'
          left join public.job_payloads as words on words.job_id = (given.columns->>'id')::uuid
          cross join lateral jsonb_populate_record(null::public.jobs, ourvidz.legacy_columns(kind, words) || given.columns) as told
          cross join lateral jsonb_populate_record(told, jsonb_build_object('ready',
            case when told.status = 'queued' and told.executor_id is null then coalesce(told.run_at <= ourvidz.now(), false) end)) as whole
          on conflict (id) do update set {changes}"""  # noqa: S608  (columns of state.job.FOLDED)
        self._connection.execute(sql, (json.dumps(columns, default=_json),))


_ENABLE = {"O": "enable", "A": "enable always", "R": "enable replica"}


@contextmanager
def repairing(database: Database) -> Iterator[Repair]:
    """One transaction in which the guards of `jobs` are off, and on again before it commits. No other write can slip through, because the
    ALTER locks the table against all writers. Owners only. Raises `HistoryBusy` when the lock cannot be had."""
    try:
        with database.driver() as connection, transaction_of(connection):
            connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
            rows = connection.execute(
                "select quote_ident(tgname), tgenabled from pg_trigger where tgrelid = 'public.jobs'::regclass and not tgisinternal"
            ).fetchall()
            guards = {name: _ENABLE[str(state)] for name, state in rows if state != "D"}
            for guard in guards:
                connection.execute(f"alter table public.jobs disable trigger {guard}")
            yield Repair(connection)
            for guard, enable in guards.items():
                connection.execute(f"alter table public.jobs {enable} trigger {guard}")
    except psycopg.errors.LockNotAvailable as error:
        message = f"Other writers held the table of jobs for {LOCK_TIMEOUT}; nothing was changed. Try again when there is less going on."
        raise HistoryBusy(message) from error


def _event(r: Mapping[str, Any]) -> StoredEvent:
    return StoredEvent(**{**r, "prev_hash": bytes(r["prev_hash"]), "hash": bytes(r["hash"])})


def _json(value: Any) -> Any:
    return "\\x" + value.hex() if isinstance(value, bytes) else value.isoformat()
