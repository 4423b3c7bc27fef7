"""Shared helpers for tests on real Postgres: databases from a template, a settable clock, and shorthands for a job's steps."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from waiting import wait_for

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs, NewJob
from ourvidz.safety.screen import Verdict
from state.events import Event
from state.job import FOLDED, Job
from state.machine import EventType, Status

OWNER = "ourvidz"
START = datetime(2025, 7, 7, 12, tzinfo=UTC)
LANES = ("sdxl", "sdxl_ip", "wan", "wan_vace")
IN_MEMORY = "ourvidz-tests-"  # name prefix, in /dev/shm, of the folders of test servers


class Permissive:
    """A screen or guard that allows everything: those have their own tests."""

    def check(self, text: str, *, negative: bool = False) -> Verdict:
        return Verdict(True, "test")


class Server:
    """A Postgres server with superuser access: creates and drops databases."""

    def __init__(self, superuser_url: str, owner_url: str) -> None:
        self.superuser_url = superuser_url
        self._owner_url = owner_url
        self._numbers = itertools.count(1)

    def url(self, name: str, *, superuser: bool = False) -> str:
        return in_database(self.superuser_url if superuser else self._owner_url, name)

    def admin(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def create(self, template: str = "template1", *, prefix: str = "test") -> str:
        name = f"{prefix}_{uuid.uuid4().hex[:6]}_{next(self._numbers)}"
        # Copied as files: only a checkpoint goes through the server's WAL, which many other databases share.
        self.admin("create database {} template {} strategy file_copy owner {}", name, template, OWNER)
        return name

    def settle(self, name: str) -> None:
        """Vacuum the catalog of a database that is copied often: a third of its pages are dead rows from setup. Our own tables are never
        vacuumed, so that plans are those of a new database."""
        catalog = "select relname from pg_class where relkind = 'r' and relnamespace = 'pg_catalog'::regnamespace and not relisshared"
        with psycopg.connect(self.url(name, superuser=True), autocommit=True) as connection:
            for (table,) in connection.execute(catalog).fetchall():
                connection.execute(sql.SQL("vacuum full pg_catalog.{}").format(sql.Identifier(table)))

    def drop(self, name: str) -> None:
        self.admin("drop database if exists {} with (force)", name)


@contextmanager
def embedded_server(folder: Callable[[str], Path]) -> Iterator[Server]:
    """A server for one test session. Files are in /dev/shm if there is room (4 GiB), else in `folder("postgres")`: creating a database took
    0.8 s on a busy disk, 0.1 s in memory."""
    from ourvidz.db.embedded import EmbeddedPostgres

    memory = Path("/dev/shm")
    _clear_strays(memory)
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= 4 * 2**30
    home = Path(tempfile.mkdtemp(prefix=IN_MEMORY, dir=memory)) if roomy else folder("postgres")
    try:
        with EmbeddedPostgres(home) as postgres:
            server = Server(postgres.superuser_url, postgres.url)
            # These databases live for one test: losing them costs nothing. test_embedded asserts that real ones do sync.
            server.admin("alter system set fsync = off")
            server.admin("alter system set full_page_writes = off")
            # A test's rows are few and short-lived; a table that autovacuum analyses in between would get other plans.
            server.admin("alter system set autovacuum = off")
            server.admin("select pg_reload_conf()")
            yield server
    finally:
        if roomy:
            shutil.rmtree(home, ignore_errors=True)


def _clear_strays(memory: Path) -> None:
    """Delete folders left by killed test runs: their servers are gone, but the files would occupy memory until none is left."""
    from ourvidz.db.embedded import status

    for home in memory.glob(f"{IN_MEMORY}*"):
        with contextlib.suppress(FileNotFoundError):  # deleted by another process of this run
            left = home.stat()
            if left.st_uid == os.geteuid() and time.time() - left.st_mtime > 600:
                now = status(home)
                if not (now.running or now.supervisor_pid or now.users):
                    shutil.rmtree(home, ignore_errors=True)


def make_migrated(server: Server) -> str:
    """A database to copy from, migrated as its non-superuser owner, with the mutant from the environment applied (mutations.py)."""
    from ourvidz.db.migrate import migrate

    _mutate()
    name = server.create(prefix="template")
    database = Database(server.url(name))
    with database.transaction() as connection:
        migrate(connection)
    as_template(database)
    database.close()
    server.settle(name)
    return name


@cache
def _mutate() -> None:
    from mutations import VARIABLE, mutated

    from ourvidz.db import schema_files, schema_objects

    if os.environ.get(VARIABLE):
        whole, applying = schema_files.parts, schema_objects.scripts
        schema_files.parts = lambda: mutated(whole())
        schema_objects.scripts = lambda: mutated(applying())


class Switch:
    """Make a database read-only for new sessions, as Supabase does on a full disk, and end the open ones."""

    def __init__(self, server: Server, name: str) -> None:
        self._server, self._name = server, name

    def read_only(self, *, on: bool) -> None:
        setting = "set default_transaction_read_only = on" if on else "reset default_transaction_read_only"
        self._server.admin(f"alter database {{}} {setting}", self._name)
        self.end_sessions()

    def end_sessions(self) -> None:
        """Terminate all other sessions and wait until they have ended."""
        others = "from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
        with psycopg.connect(self._server.superuser_url, autocommit=True) as connection:
            connection.execute(f"select pg_terminate_backend(pid, 20000) {others}", (self._name,))


def in_database(url: str, name: str) -> str:
    """The same server and role in another database."""
    scheme, _, rest = url.partition("://")
    before, _, query = rest.partition("?")
    return f"{scheme}://{before.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def as_role(url: str, role: str) -> str:
    """The URL for `role`, to test that role's privileges."""
    return make_conninfo(**{**conninfo_to_dict(url), "user": role})


def as_template(db: Database) -> None:
    """Clear the stored identity, so that copies are independent databases and not taken for restored ones (`ourvidz restored`)."""
    db.rows("update ourvidz.identities set system_identifier = null")


class Clock:
    """The database's clock under the test's control: stopped until moved, forwards or backwards."""

    def __init__(self, owner: Database, at: datetime = START) -> None:
        self._db = owner
        if owner.rows("select to_regclass('ourvidz.test_clock') is null as missing")[0]["missing"]:
            self.prepare(owner)
        owner.rows("delete from ourvidz.test_clock")
        owner.rows("insert into ourvidz.test_clock values (%s)", (at,))
        self.at = at

    @staticmethod
    def prepare(owner: Database) -> None:
        """Create the schema objects that the clock needs. Until a `Clock` is made, the time is the real one."""
        owner.rows("create table ourvidz.test_clock (at timestamptz not null)")
        owner.rows("grant select on ourvidz.test_clock to public")
        owner.rows(
            "create or replace function ourvidz.now() returns timestamptz language sql volatile parallel safe"
            " as $$ select coalesce((select at from ourvidz.test_clock), clock_timestamp()) $$"
        )

    def set(self, at: datetime) -> datetime:
        self._db.rows("update ourvidz.test_clock set at = %s", (at,))
        self.at = at
        return at

    def advance(self, seconds: float) -> datetime:
        return self.set(self.at + timedelta(seconds=seconds))


def new_user(db: Database, plan: str = "free", *, verified: bool = True, tokens: int = 1_000_000) -> str:
    user = str(uuid.uuid4())
    sql = "insert into public.profiles (id, age_verified, subscription_status, token_balance) values (%s, %s, %s, %s)"
    db.rows(sql, (user, verified, plan, tokens))
    return user


def submit(jobs: Jobs, user: str, job_type: str = "sdxl_image_fast", **more: Any) -> str:
    return jobs.submit(NewJob(user, job_type, more.pop("prompt", "a lighthouse at dusk"), **more)).id


def executor(jobs: Jobs, name: str = "gpu0", lanes: Sequence[str] = LANES) -> str:
    return jobs.register(name, "host", 1, lanes)


def claim(jobs: Jobs, executor_id: str, **more: Any) -> Claim:
    """One claim; the test fails when there is nothing to claim."""
    (found,) = jobs.claim(executor_id, **more)
    return found


def artifact(job: Claim, index: int = 0, kind: str = "image", content: str = "") -> dict[str, Any]:
    digest = uuid.uuid5(uuid.NAMESPACE_OID, f"{job.job_id}/{kind}/{index}/{content}").hex * 2
    return {
        "index": index, "kind": kind, "seed": 7 + index, "bucket": job.job_type, "media_type": "image/png", "width": 8, "height": 8,
        "path": f"{job.user_id}/{job.job_id}/{job.claim_no}-{index}-{kind}.png", "bytes": 100, "sha256": digest, "spool": "host",
    }  # fmt: skip


def enhance(jobs: Jobs, job: Claim) -> None:
    """Enhance the prompt of a claimed job, if its type does so."""
    if job.kind.enhance:
        jobs.advance(job, "enhancement_started", on_device=True)
        jobs.enhanced(job, "A lighthouse at dusk, wide shot, soft light.", seconds=1.0, tokens=12)


def finish(jobs: Jobs, job: Claim) -> None:
    """Run a claimed job to its end, with one output."""
    jobs.advance(job, "generation_started")
    made = artifact(job)
    jobs.artifact_generated(job, made)
    jobs.advance(job, "upload_started")
    jobs.artifact_uploaded(job, "image", 0, made["sha256"])
    jobs.complete(job)


def row(db: Database, job_id: str) -> dict[str, Any]:
    (found,) = db.rows("select * from public.jobs where id = %s", (job_id,))
    return found


def types(db: Database, job_id: str) -> list[str]:
    return [r["type"] for r in db.rows("select type from public.job_events where job_id = %s order by version", (job_id,))]


_EVENTS = """select job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data, data::text as data_text,
                    prev_hash, hash from public.job_events where job_id = any (%s::uuid[]) order by job_id, version"""


def events(db: Database, *job_ids: str) -> list[Event]:
    """The jobs' events as `state.Event`s, in version order."""
    return [as_event(r) for r in db.rows(_EVENTS, (list(job_ids),))]


def as_event(r: dict[str, Any]) -> Event:
    return Event(
        str(r["job_id"]), r["version"], EventType(r["type"]), r["from_status"] and Status(r["from_status"]), Status(r["to_status"]),
        r["claim_no"], r["actor"], r["occurred_at"], r["data"], r["data_text"], bytes(r["prev_hash"]), bytes(r["hash"]),
    )  # fmt: skip


def as_job(r: dict[str, Any]) -> Job:
    """Convert a row of jobs to the fold's `Job`."""
    return Job(**{name: _plain(r[name]) for name in FOLDED})


def _plain(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return str(value)
    return bytes(value) if isinstance(value, memoryview) else value


def wait_for_lock(db: Database, pid: int) -> None:
    """Wait until that backend is blocked by a lock, according to the database: no fixed sleep."""
    wait_for(lambda: db.rows("select pg_blocking_pids(%s) as by", (pid,))[0]["by"], "for it to wait for a lock")
