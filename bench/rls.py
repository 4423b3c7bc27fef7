"""Cost of row-level security for a user's list of jobs, in a table of ten thousand jobs and in one of a million, in the same run.

    python -m bench.rls [--scale 1.0]

The list is what a front end asks PostgREST for: the caller's newest twenty, with no condition but the policy. The user's own hundred jobs
are the oldest of all, so that no scan from the newest finds them early. Aim: within 1.5×, and no plan that reads others' rows.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import psycopg

from bench.claims import fill
from bench.ground import calm, connect, ground, profile
from bench.report import table
from ourvidz.db.conninfo import conninfo, parameters

LIST = "select * from public.jobs order by created_at desc limit 20"
USERS, MINE, ASKED = 500, 100, 300


def crowd(connection: psycopg.Connection[Any], jobs: int) -> None:
    """Insert copies of one job for many other users, newer than it, by bare SQL with guards off."""
    found = connection.execute("""select string_agg(quote_ident(attname), ', ') from pg_attribute where attrelid = 'public.jobs'::regclass
        and attnum > 0 and not attisdropped and attname not in ('id', 'user_id', 'created_at')""").fetchone()
    with connection.transaction():
        connection.execute("alter table public.jobs disable trigger user")
        connection.execute(
            f"""insert into public.jobs (id, user_id, created_at, {found and found[0]})
                select gen_random_uuid(), ('00000000-0000-4000-9000-' || lpad((n %% {USERS})::text, 12, '0'))::uuid,
                       created_at + n * interval '1 millisecond', {found and found[0]}
                from (select * from public.jobs order by created_at limit 1) as one cross join generate_series(1, %s) as n""",
            (jobs,),
        )


def listed(connection: psycopg.Connection[Any], user: str) -> tuple[float, float, int]:
    """Median and p95 milliseconds of the list as its user, and how many rows of the table its plan discarded."""
    times = []
    with connection.transaction():
        connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps({"sub": user, "role": "authenticated"}),))
        connection.execute("set local role authenticated")
        (plan,) = connection.execute(f"explain (analyze, format json) {LIST}").fetchone() or ([],)
        for _ in range(ASKED):
            begun = time.perf_counter()
            rows = connection.execute(LIST).fetchall()
            times.append((time.perf_counter() - begun) * 1000)
            assert len(rows) == 20
    return median(times), sorted(times)[-ASKED // 20], _thrown_away(plan[0]["Plan"])


def _as_superuser(url: str) -> str:
    """Connection string of a superuser, who may set any role, as PostgREST's authenticator does."""
    return conninfo(os.environ["OURVIDZ_BENCH_ADMIN"], dbname=parameters(url)["dbname"])


def _thrown_away(node: dict[str, Any]) -> int:
    return int(node.get("Rows Removed by Filter", 0)) + sum(_thrown_away(inner) for inner in node.get("Plans", ()))


def compared(totals: Sequence[int]) -> list[tuple[Any, ...]]:
    """One row per size of the table: the size, and the figures of `listed`."""
    rows: list[tuple[Any, ...]] = []
    with ground() as url, connect(url) as connection, connect(_as_superuser(url)) as asking:
        user = profile(connection, 1)
        fill(connection, MINE, user, status="completed")
        done = 0
        for total in totals:
            crowd(connection, total - done)
            done = total
            calm(connection)
            listed(asking, user)  # warms the caches
            rows.append((f"{total:,} jobs", *listed(asking, user)))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the million; 0.1 for a quick look")
    scale = parser.parse_args(argv).scale
    rows = compared((10_000, round(1_000_000 * scale)))
    table(f"A user's newest 20 under RLS, {ASKED} times", ("in a table of", "median ms", "p95 ms", "rows thrown away"), rows)
    print(f"\nratio {rows[1][1] / rows[0][1]:.2f}, aim ≤ 1.5")


if __name__ == "__main__":
    main()
