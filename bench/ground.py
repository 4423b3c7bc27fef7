"""Setup of the benchmarks: a Postgres of their own with fsync on, a migrated database, and helpers to fill it and quiet it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from ourvidz.db.connection import Database
from ourvidz.db.embedded import EmbeddedPostgres
from ourvidz.db.migrate import migrate
from ourvidz.lifecycle import Jobs
from ourvidz.safety.screen import Verdict

USER = "00000000-0000-4000-8000-{:012}"


class NoScreen:
    """A screen that allows everything: benchmarks measure the engine, and their one prompt is known."""

    def check(self, text: str) -> Verdict:
        return Verdict(True, "bench")


@contextmanager
def ground() -> Iterator[str]:
    """Yield the URL of a fresh, migrated database."""
    with tempfile.TemporaryDirectory(prefix="ourvidz-bench-") as home, EmbeddedPostgres(Path(home)) as server:
        database = Database(server.url)
        with database.transaction() as connection:
            migrate(connection)
        database.close()
        with psycopg.connect(server.superuser_url, autocommit=True) as admin:
            # No checkpoint in the middle of a run: it would be charged to whichever side ran then.
            for setting in ("checkpoint_timeout = '1h'", "max_wal_size = '8GB'"):
                admin.execute(f"alter system set {setting}")
            admin.execute("select pg_reload_conf()")
        os.environ["OURVIDZ_BENCH_ADMIN"] = server.superuser_url
        yield server.url


def connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True)


def hands(url: str) -> Jobs:
    return Jobs(Database(url), NoScreen())


def profile(connection: psycopg.Connection[Any], n: int = 1, plan: str = "premium") -> str:
    user = USER.format(n)
    sql = """insert into profiles (id, age_verified, subscription_status, token_balance) values (%s, true, %s, 1000000000)
             on conflict do nothing"""
    connection.execute(sql, (user, plan))
    return user


def submit(connection: psycopg.Connection[Any], user: str, jobs: int, job_type: str = "sdxl_image_fast", **more: Any) -> None:
    """Queue jobs through the same function that everyone calls, a thousand per transaction."""
    one = {"user_id": user, "job_type": job_type, "prompt": "a lighthouse in a storm", **more}
    for start in range(0, jobs, 1000):
        wire = json.dumps([one] * min(1000, jobs - start))
        connection.execute("select count(*) from ourvidz.submit_batch(%s::jsonb)", (wire,))


def wal(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')").fetchone()
    assert row is not None
    return int(row[0])


def calm(connection: psycopg.Connection[Any]) -> None:
    """Update statistics and force a checkpoint before a measurement, so that neither happens during it."""
    connection.execute("vacuum (analyze)")
    with psycopg.connect(os.environ["OURVIDZ_BENCH_ADMIN"], autocommit=True) as admin:
        admin.execute("checkpoint")
    os.sync()  # else the first commits measured would wait for the disk to write earlier data
