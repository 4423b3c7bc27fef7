"""Throughput in jobs per second through queued → generating → uploading → completed, with all guards, events and the chain, against the
floor.

    python -m bench.engine [--jobs 4000]

Aims: at least 0.6 of the plain floor one at a time, 0.4 in batches of 100; four commits per job on all sides, fsync on. The tight floor
(one prepared statement per step) is printed beside it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from bench import floor
from bench.ground import calm, connect, ground, hands, profile, submit, wal
from bench.report import table

AIM = {1: 0.6, 100: 0.4}
SHAPES = ((1, 1), (4, 1), (1, 100), (4, 100))  # workers, jobs in a batch


def drain(url: str, batch: int) -> int:
    """Drive every queued job to completed through `Jobs`, as an executor does; returns how many."""
    jobs = hands(url)
    executor = jobs.register("bench", "bench", 1, ["sdxl"])
    done = 0
    while claims := jobs.claim(executor, limit=batch):
        if batch == 1:
            (claim,) = claims
            jobs.advance(claim, "generation_started")
            jobs.advance(claim, "upload_started")
            jobs.complete(claim)
        else:
            jobs.advance_many(claims, "generation_started")
            jobs.advance_many(claims, "upload_started")
            jobs.complete_many(claims)
        done += len(claims)
        if done % 200 < batch:
            jobs.heartbeat(executor)
    jobs.db.close()
    return done


def plain_drain(url: str, batch: int) -> int:
    with connect(url) as connection:
        return floor.plain(connection, batch)


def tight_drain(url: str, batch: int) -> int:
    with connect(url) as connection:
        return floor.tight(connection, batch)


def _share(work: Callable[[str, int], int], url: str, batch: int, gate: Any, counts: Any) -> None:
    gate.wait()
    counts.put(work(url, batch))


def timed(work: Callable[[str, int], int], url: str, batch: int, workers: int) -> tuple[int, float]:
    """Jobs done and seconds taken by `workers` processes that start together."""
    context = multiprocessing.get_context("spawn")
    gate, counts = context.Barrier(workers + 1), context.Queue()
    crew = [context.Process(target=_share, args=(work, url, batch, gate, counts)) for _ in range(workers)]
    for process in crew:
        process.start()
    gate.wait()
    begun = time.perf_counter()
    total = sum(counts.get() for _ in crew)
    taken = time.perf_counter() - begun
    for process in crew:
        process.join()
    return total, taken


def deliver(connection: Any) -> None:
    """Insert an uploaded output for each queued job: a job that delivers nothing costs nothing, and is refunded at its end."""
    connection.execute(
        """insert into public.artifacts (job_id, index, kind, claim_no, bucket, path, media_type, width, height, bytes, sha256, uploaded_at,
                                         created_at)
           select id, 0, 'image', 1, job_type, id || '.png', 'image/png', 8, 8, 100, repeat('0', 64), created_at, created_at
           from public.jobs where status = 'queued'"""
    )


def measure(url: str, jobs: int, rounds: int) -> list[tuple[str | int | float, ...]]:
    rows: list[tuple[str | int | float, ...]] = []
    with connect(url) as connection:
        user = profile(connection)
        for workers, batch in SHAPES:
            speeds: dict[str, list[float]] = {"plain": [], "tight": [], "ours": []}
            logged: dict[str, int] = {}
            count = jobs if batch == 1 else jobs * 3
            for _ in range(rounds):  # alternating, so that a slow minute of the machine affects all
                submit(connection, user, count)
                deliver(connection)
                for name, work in (("plain", plain_drain), ("tight", tight_drain), ("ours", drain)):
                    if name != "ours":
                        floor.prepare(connection)
                    calm(connection)
                    before = wal(connection)
                    done, taken = timed(work, url, batch, workers)
                    logged[name] = (wal(connection) - before) // count
                    speeds[name].append(done / taken)
            share = {name: median(o / t for o, t in zip(speeds["ours"], speeds[name], strict=True)) for name in ("plain", "tight")}
            title = f"{workers} worker{'s' * (workers > 1)}, {'one at a time' if batch == 1 else f'batches of {batch}'}"
            rates = (round(median(speeds[name])) for name in ("plain", "tight", "ours"))
            rows.append((title, *rates, share["plain"], AIM[batch], share["tight"], logged["tight"], logged["ours"]))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1500, help="jobs a round one at a time; three times as many in batches")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(argv)
    with ground() as url:
        head = ("drain", "plain jobs/s", "tight jobs/s", "ours jobs/s", "of plain", "aim", "of tight", "floor WAL B/job", "ours WAL B/job")
        table("Engine: queued to completed, 4 commits a job", head, measure(url, asked.jobs, asked.rounds))


if __name__ == "__main__":
    main()
