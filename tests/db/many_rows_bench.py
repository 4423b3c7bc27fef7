"""Databases and measuring for statements of many rows (many_rows.py)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
from many_rows import Case, submits
from support import LANES, Permissive, Server, artifact, claim, new_user, submit

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs

TIMEOUT = "600s"  # for a statement of 100,000 rows; none needs a quarter of it


class Bench:
    """A database of its own, with one session that fills it (guards off) and one that is measured."""

    def __init__(self, server: Server, template: str) -> None:
        self.server, self.name = server, server.create(template)
        self.open: list[psycopg.Connection] = []
        self.filler = self.connect("set session_replication_role = replica")
        self.session = self.connect(f"set statement_timeout = '{TIMEOUT}'; set track_functions = 'all'")

    def connect(self, settings: str) -> psycopg.Connection:
        session = psycopg.connect(self.server.url(self.name, superuser=True), autocommit=True)
        self.open.append(session)
        session.execute(settings)
        return session

    def close(self) -> None:
        for session in self.open:
            session.close()
        self.server.drop(self.name)

    def make(self, case: Case, n: int) -> None:
        self.filler.execute(case.before.replace("$N", str(n)))

    def run(self, case: Case, n: int, *then: str, session: psycopg.Connection | None = None) -> tuple[float, list[list[tuple[Any, ...]]]]:
        """Run the statement for the n prepared rows, then the queries `then` in the same transaction; returns its seconds and their
        answers. Rolls back."""
        session = session or self.session
        session.execute("select pg_stat_force_next_flush()")  # pg_stat_xact_* then counts the next transaction alone
        with session.transaction(force_rollback=True):
            session.execute("select set_config('request.jwt.claims', %s, true)", (case.claims,))
            before = seconds(session)
            found = session.execute(case.sql.replace("$N", str(n)))
            took = seconds(session) - before
            rows = found.fetchone()[0] if found.description else found.rowcount  # type: ignore[index]
            (wanted,) = session.execute("select " + case.takes.replace("$N", str(n))).fetchone()  # type: ignore[misc]
            assert int(rows) >= int(wanted), f"{case.name} took {rows} rows of {n}"
            return took, [session.execute(query).fetchall() for query in then]


def seconds(session: psycopg.Connection) -> float:
    """CPU time of the session's server process; wall-clock time if it runs on another machine."""
    stat = Path(f"/proc/{session.info.backend_pid}/schedstat")
    if stat.exists() and "OURVIDZ_TEST_POSTGRES" not in os.environ:
        return int(stat.read_text().split()[0]) / 1e9
    (now,) = session.execute("select extract(epoch from clock_timestamp())::float8").fetchone()  # type: ignore[misc]
    return float(now)


def make_template(server: Server, migrated: str) -> str:
    name = server.create(migrated, prefix="sizes")
    with psycopg.connect(server.url(name, superuser=True), autocommit=True) as admin:
        admin.execute((Path(__file__).parent / "many_rows.sql").read_text())
        seed(server, name, admin)
        admin.execute("analyze")
    return name


def seed(server: Server, name: str, admin: psycopg.Connection) -> None:
    """Create the jobs that others are copied from; the regular functions bring each into its state."""
    db = Database(server.url(name))
    jobs = Jobs(db, Permissive(), patience=20)
    users = [new_user(db, "premium", tokens=10**9)]
    admin.execute("insert into sizes.users values (1, %s)", users)
    db.rows("select ourvidz.receiver_set('sizes', 'https://sizes.example', '{completed,failed,cancelled,processing}')")
    executor, other = (jobs.register(name, "host", 1, LANES) for name in ("first", "other"))

    def begun(**more: Any) -> Claim:
        submit(jobs, users[0], **more)
        held = claim(jobs, executor)
        jobs.advance(held, "generation_started")
        return held

    def uploading(kind: str = "image", **more: Any) -> Claim:
        held = begun(**more)
        made = artifact(held, kind=kind)
        jobs.artifact_generated(held, made)
        jobs.advance(held, "upload_started")
        jobs.artifact_uploaded(held, kind, 0, made["sha256"])
        return held

    def film() -> Claim:
        (row,) = db.rows("insert into public.videos (user_id, status) values (%s, 'draft') returning id", users)
        return uploading("video", job_type="video_fast", video_id=str(row["id"]))

    completed = uploading(prompt="a lighthouse")
    admin.execute(
        """insert into public.model_test_results (user_id, job_id, model_type, prompt_text, test_series, test_tier)
           values (%s, %s, 'SDXL', 'a lighthouse', 'sizes', 'artistic')""",
        (users[0], completed.job_id),
    )
    jobs.complete(completed)
    failed, refused, made_film = begun(), uploading(), film()
    jobs.fail(failed, "out_of_memory", "too large", retryable=False)
    jobs.fail(refused, "refused", "no", retryable=False, final=True)
    jobs.complete(made_film)
    seeds = {"completed": completed, "failed": failed, "refused": refused, "film": made_film}
    seeds |= {"generating": begun(), "uploading": uploading(), "film at upload": film()}
    submit(jobs, users[0], idempotency_key="held")
    seeds["held"] = claim(jobs, executor)
    submit(jobs, users[0], idempotency_key="held by another")
    seeds["held by another"] = claim(jobs, other)  # losing this executor touches no jobs of other cases
    ids = {name: held.job_id for name, held in seeds.items()} | {"executor": executor, "other executor": other}
    admin.execute("select sizes.ids(1, 1)")
    admin.execute(f"insert into sizes.seeds select 'queued', job_id from {submits()}")
    with admin.cursor() as cursor:
        cursor.executemany("insert into sizes.seeds values (%s, %s)", list(ids.items()))
    # session_replication_role = replica disables triggers without DDL, which would invalidate the plans of other sessions.
    admin.execute(
        """do $$ declare v_table regclass; begin
             for v_table in select tgrelid from pg_trigger where tgname = 'replica_guard' loop
               execute format('alter table %s disable trigger replica_guard', v_table);
             end loop; end $$"""
    )
    admin.execute(
        """do $$ declare r regclass; begin
             for r in select oid from pg_class
                      where relkind = 'r' and relnamespace in ('public'::regnamespace, 'ourvidz'::regnamespace) loop
               execute format('alter table %s set (autovacuum_enabled = off)', r);
             end loop; end $$"""
    )
    admin.execute("set session_replication_role = replica")
    # Leases and deadlines never expire, and the per-login rate limit is not under test here.
    admin.execute("update ourvidz.executors set lease_until = 'infinity'")
    admin.execute("update public.jobs set deadline = 'infinity' where deadline is not null")
    admin.execute("update ourvidz.policy set claims_per_minute = 1000000000")
    admin.execute(
        """insert into public.profiles (id, age_verified, subscription_status, token_balance)
           select gen_random_uuid(), true, 'premium', 1000000000 from generate_series(2, 5000)"""
    )
    admin.execute("insert into sizes.users select row_number() over () + 1, id from public.profiles where id <> %s", users)
    admin.execute("reset session_replication_role")
    db.close()
