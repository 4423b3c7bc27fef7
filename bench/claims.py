"""Cost of one claim beside many other jobs, against the same claim in a queue of a thousand, in the same run.

    python -m bench.claims [--scale 1.0]

Aims: within 2× with 200,000 jobs of another family, 200,000 of one user in the same lane, 200,000 in the future, 1,000,000 finished ones,
and a snapshot held open for the whole run; within 1.1× with a million queued jobs against ten thousand.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

import psycopg

from bench.ground import calm, connect, ground, hands, profile, submit
from bench.report import table
from ourvidz.db.conninfo import conninfo

CLAIMS = 300


def fill(
    connection: psycopg.Connection[Any],
    count: int,
    user: str,
    *,
    status: str = "queued",
    lane: str = "sdxl",
    later: bool = False,
    rank: float = 0,
) -> None:
    """Insert rows by bare SQL with guards off: only the contents of the table matter here, not how they came there."""
    ended = status == "completed"
    ready, due, finished = ("null", "null", "now()") if ended else ("not %(later)s", "now() + %(delay)s::interval", "null")
    with connection.transaction():
        connection.execute("alter table public.jobs disable trigger user")
        connection.execute(
            f"""
            insert into public.jobs (id, status, version, head_hash, submitted_on, user_id, job_type, lane, priority, rank, ready, run_at,
              claim_no, attempts, errors, crashes, device_crashes, snoozes, cancel_requested, final, enhanced, generated, uploaded,
              created_at, updated_at, completed_at)
            select gen_random_uuid(), %(status)s, 1, sha256(''), current_date, %(user)s, %(type)s, %(lane)s, 7, %(rank)s + n * 0.125,
              {ready}, {due}, 0, 0, 0, 0, 0, 0, false, false, false, 0, 0, now(), now(), {finished}
            from generate_series(1, %(count)s) as n""",
            {
                "status": status,
                "user": user,
                "lane": lane,
                "later": later,
                "delay": "1 day" if later else "0",
                "count": count,
                "rank": rank,
                "type": "sdxl_image_fast" if lane == "sdxl" else "image_fast",
            },
        )
        for name in ("jobs_ask", "jobs_asked", "jobs_bare_write", "jobs_guard_insert", "jobs_guard_update", "jobs_never_deleted"):
            connection.execute(f"alter table public.jobs enable trigger {name}")
        connection.execute(
            """insert into public.job_payloads (job_id, user_id, prompt, settings, salt, body_digest)
               select j.id, user_id, 'a lighthouse', kind.defaults || '{"seed": 1}', sha256(''), sha256('')
               from public.jobs as j join ourvidz.job_types as kind on kind.name = j.job_type
               where not exists (select from public.job_payloads as p where p.job_id = j.id)"""
        )


def costs(urls: tuple[str, str], claims: int) -> tuple[float, float]:
    """Median milliseconds of a claim of one job, as an executor makes it, in each of two databases, alternating so that a slow minute of
    the machine affects both. Each has `claims` jobs to give."""
    sides = [hands(url) for url in urls]
    executors = [jobs.register("bench", "bench", 1, ["sdxl"]) for jobs in sides]
    times: tuple[list[float], list[float]] = ([], [])
    for n in range(claims):
        for jobs, executor, taken in zip(sides, executors, times, strict=True):
            if n % 100 == 0:
                jobs.heartbeat(executor)
            begun = time.perf_counter()
            got = jobs.claim(executor)
            taken.append(time.perf_counter() - begun)
            assert len(got) == 1
    for jobs, executor in zip(sides, executors, strict=True):
        jobs.drain(executor, done=True)
        jobs.db.close()
    return median(times[0]) * 1000, median(times[1]) * 1000


def twin(url: str) -> str:
    """Create a second database on the same server as a copy of the first, to which nobody may be connected."""
    with connect(url) as first:
        first.execute(
            "update ourvidz.identities set system_identifier = null"
        )  # null in the copy too, so that it is not taken for a restored database
    with connect(os.environ["OURVIDZ_BENCH_ADMIN"]) as admin:
        admin.execute("create database mountain template ourvidz owner ourvidz")
    return conninfo(url, dbname="mountain")


def scenario(
    name: str, against: int, prepare: Callable[[psycopg.Connection[Any], ExitStack, str, str], None], scale: float
) -> tuple[str, float, float, float]:
    """Time identical claims in two databases that differ only in how many other jobs they hold."""
    with ground() as url, ExitStack() as stack:
        with connect(url) as connection:
            user, crowd = profile(connection, 1), profile(connection, 2)
        urls = (url, twin(url))
        plain, mountain = (stack.enter_context(connect(u)) for u in urls)
        if against:
            fill(plain, round(against * scale), user, rank=2000)
        prepare(mountain, stack, crowd, urls[1])
        for _ in range(2):  # the first round warms caches and plans
            for connection in (plain, mountain):
                submit(connection, user, CLAIMS)
                calm(connection)
            small, large = costs(urls, CLAIMS)
        return name, small, large, large / small


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the mountains; 0.1 for a quick look")
    scale = parser.parse_args(argv).scale
    many, finished = round(200_000 * scale), round(1_000_000 * scale)

    def held(connection: psycopg.Connection[Any], stack: ExitStack, user: str, url: str) -> None:
        reader = stack.enter_context(connect(url))
        reader.execute("begin isolation level repeatable read")
        reader.execute("select count(*) from public.job_events")

    rows: list[tuple[Any, ...]] = []
    for name, against, prepare, aim in (
        ("200,000 of another family", 0, lambda c, s, u, url: fill(c, many, u, lane="wan"), 2.0),
        ("200,000 of one user, same lane", 0, lambda c, s, u, url: fill(c, many, u), 2.0),
        ("200,000 in the future", 0, lambda c, s, u, url: fill(c, many, u, later=True), 2.0),
        ("1,000,000 finished", 0, lambda c, s, u, url: fill(c, finished, u, status="completed"), 2.0),
        ("a snapshot held open", 0, held, 2.0),
        ("1,000,000 queued against 10,000", 10_000, lambda c, s, u, url: fill(c, finished, u, rank=2000), 1.1),
    ):
        rows.append((*scenario(name, against, prepare, scale), aim))
        print(f"{name}: {rows[-1][3]:.2f}×", flush=True)
    table(f"Claims: median of {CLAIMS}, one job each", ("beside the claim", "ms without", "ms with", "ratio", "aim ≤"), rows)


if __name__ == "__main__":
    main()
