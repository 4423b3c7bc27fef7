"""A database with jobs, its pg_dump, and a fresh server to move it to: real dumps, restores and subscriptions."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cli_command import Command, environment
from support import Permissive, Server, claim, executor, finish, new_user, submit
from waiting import LIMIT

from ourvidz.audit import publish_heads
from ourvidz.db import cluster, outbox, queries
from ourvidz.db.connection import Database
from ourvidz.db.embedded import EmbeddedPostgres
from ourvidz.lifecycle import Jobs

NO_OWNERS = ("--no-owner", "--no-acl")


def tool(name: str, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run pg_dump or another client tool of the newest Postgres found."""
    folder = next(cluster.find_binaries()).folder
    done = subprocess.run([str(folder / name), *args], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert not check or done.returncode == 0, done.stderr[-2000:]
    return done


@dataclass
class Lived:
    """A database with a completed, a claimed and a waiting job. `cursor`: position of a reader of its events; `heads`: its published
    heads file."""

    server: Server
    name: str
    user: str
    done: str
    held: str
    waiting: str
    cursor: queries.Cursor
    heads: Path
    dump: Path

    @property
    def url(self) -> str:
        return self.server.url(self.name)


def lived(server: Server, template: str, folder: Path) -> Lived:
    name = server.create(template)
    database = Database(server.url(name))
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as connection:
        # Push transaction ids far ahead of a fresh server's: each subtransaction uses one.
        connection.execute("""do $$ begin create temp table t (i integer); for i in 1..30000 loop
                              begin insert into t values (i); exception when others then raise; end; end loop; end $$""")
        here = connection.execute("select system_identifier, oid from pg_control_system(), pg_database where datname = current_database()")
        connection.execute(
            "update ourvidz.identities set system_identifier = %s, database_oid = %s, id = gen_random_uuid()", here.fetchone()
        )
    jobs = Jobs(database, Permissive(), patience=20)
    ends = ["completed", "failed", "cancelled"]
    outbox.receiver_set(database, "callback", "http://127.0.0.1:9/x", ends, "CALLBACK_SECRET")
    user, gpu = new_user(database, "premium"), executor(jobs)
    done, held, waiting = (submit(jobs, user, prompt=f"a lighthouse {n}") for n in range(3))
    finish(jobs, claim(jobs, gpu))
    jobs.advance(claim(jobs, gpu), "generation_started")
    publish_heads(database, folder / "heads.jsonl")
    (last,) = queries.last_events(database, 1)
    database.close()
    tool("pg_dump", "-Fc", "-f", str(folder / "dump"), server.url(name, superuser=True))
    return Lived(server, name, user, done, held, waiting, (last["xid"], last["seq"]), folder / "heads.jsonl", folder / "dump")


def younger(folder: Path) -> Iterator[Server]:
    """A fresh server: none of our roles, transaction ids near zero, wal_level = logical."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cluster, "SETTINGS", cluster.SETTINGS + "wal_level = logical\nfsync = off\nfull_page_writes = off\n")
        with EmbeddedPostgres(folder) as postgres:
            yield Server(postgres.superuser_url, postgres.url)


def command(url: str, home: Path) -> Command:
    return Command(environment(home, DATABASE_URL=url), home.parent)


def until(db: psycopg.Connection[Any], sql: str, wanted: object, limit: float = 60.0) -> None:
    """Wait until the query returns `wanted`."""
    end = time.monotonic() + limit
    while (found := db.execute(sql).fetchone()) != wanted:  # type: ignore[call-overload]
        assert time.monotonic() < end, f"{sql}: {found}"
        time.sleep(0.05)


def subscribe(server: Server, source: str, target: str) -> None:
    """Subscribe `target` to all tables of `source` on the same server; returns once both are in sync. The slot is created separately: a
    subscription that creates one on its own server waits for itself."""
    with (
        psycopg.connect(server.url(source, superuser=True), autocommit=True) as here,
        psycopg.connect(server.url(target, superuser=True), autocommit=True) as there,
    ):
        here.execute("create publication moving for all tables")
        here.execute("select pg_create_logical_replication_slot('moving', 'pgoutput')")
        url = server.url(source, superuser=True)
        there.execute(f"create subscription moving connection '{url}' publication moving with (create_slot = false, slot_name = 'moving')")
        until(there, "select count(*) from pg_subscription_rel where srsubstate <> 'r'", (0,))


def even(server: Server, source: str) -> None:
    """Wait until the subscriber has everything committed in `source` so far."""
    with psycopg.connect(server.url(source, superuser=True), autocommit=True) as here:
        (at,) = here.execute("select pg_current_wal_lsn()").fetchone() or ("",)
        until(here, f"select confirmed_flush_lsn >= '{at}' from pg_replication_slots where slot_name = 'moving'", (True,))


def unsubscribe(server: Server, source: str, target: str) -> None:
    with psycopg.connect(server.url(target, superuser=True), autocommit=True) as there:
        there.execute("alter subscription moving disable")
        there.execute("alter subscription moving set (slot_name = none)")
        there.execute("drop subscription moving")
        there.execute("drop publication if exists moving")
    with psycopg.connect(server.url(source, superuser=True), autocommit=True) as here:
        until(here, "select active from pg_replication_slots where slot_name = 'moving'", (False,))
        here.execute("select pg_drop_replication_slot('moving')")
        here.execute("drop publication moving")
