"""Latency from the commit of a submit to the start of its handler in an idle executor, against a bare LISTEN-and-claim loop in the same
run.

    python -m bench.latency

Aim: p50 within 3× of the bare loop's, which claims in a transaction of plain statements; the tight one claims in one prepared statement.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from typing import Any

import psycopg

from bench import floor
from bench.ground import calm, connect, ground, hands, profile, submit
from bench.report import table
from ourvidz.db.connection import Listener

ROUNDS = 200


def bare(url: str, claim: Callable[[psycopg.Connection[Any], int], list[Any]]) -> list[float]:
    """Waits with a bare loop: LISTEN, and the floor's claim."""
    started: list[float] = []
    begun = threading.Event()  # waited for, not polled: a busy thread would distort the measurement
    ready, stop = threading.Event(), threading.Event()

    def listen() -> None:
        with connect(url) as session:
            session.prepare_threshold = 0
            session.execute("listen bare")
            ready.set()
            while not stop.is_set():
                woken = list(session.notifies(timeout=0.2, stop_after=1))
                if woken and claim(session, 1):
                    started.append(time.perf_counter())
                    begun.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    ready.wait()
    waits = []
    with connect(url) as connection:
        row: Any = connection.execute("select id from floor_jobs limit 1").fetchone()
        for _ in range(ROUNDS):
            begun.clear()
            with connection.transaction():
                connection.execute(
                    "update floor_jobs set ready = true, status = 'queued', executor_id = null, run_at = now() where id = %s", row
                )
                connection.execute("notify bare")
            committed = time.perf_counter()
            if not begun.wait(10):
                raise SystemExit("woken in vain: nothing started within 10 s")
            waits.append(started[-1] - committed)
            time.sleep(0.005)
    stop.set()
    thread.join()
    return waits


def ours(url: str) -> list[float]:
    """Waits with the worker's loop: marked as waiting by an empty claim, woken by the submit's NOTIFY, claiming through `Jobs`."""
    jobs = hands(url)
    executor = jobs.register("bench", "bench", 1, ["sdxl"])
    started: list[float] = []
    begun = threading.Event()  # waited for, not polled: a busy thread would distort the measurement
    wake, stop = threading.Event(), threading.Event()
    listener = Listener(url, executor, wake.set)

    def work() -> None:
        beaten = time.monotonic()
        while not stop.is_set():
            wake.clear()
            if not jobs.claim(executor) and not jobs.claim(executor):
                wake.wait(1.0)
            else:
                started.append(time.perf_counter())
                begun.set()
            if time.monotonic() - beaten > 5:
                jobs.heartbeat(executor)
                beaten = time.monotonic()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(0.5)
    waits = []
    with connect(url) as connection:
        for _ in range(ROUNDS):
            begun.clear()
            submit(connection, "00000000-0000-4000-8000-000000000001", 1)
            committed = time.perf_counter()
            if not begun.wait(10):
                raise SystemExit("woken in vain: nothing started within 10 s")
            waits.append(max(started[-1] - committed, 0.0))
            time.sleep(0.01)
    stop.set()
    wake.set()
    thread.join()
    listener.close()
    jobs.db.close()
    return waits


def main(argv: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    with ground() as url:
        with connect(url) as connection:
            user = profile(connection)
            submit(connection, user, 1)  # the bare loop's one job is a copy of it
            floor.prepare(connection)
            calm(connection)
        jobs = hands(url)
        executor = jobs.register("sweep", "bench", 1, ["sdxl"])
        jobs.claim(executor, limit=10)  # leaves the queue empty, as for an idle executor
        rows = []
        ways = (
            ("bare LISTEN and claim", bare(url, floor.plain_claim)),
            ("the same, tight", bare(url, floor.tight_claim)),
            ("ours", ours(url)),
        )
        for name, waits in ways:
            rows.append((name, median(waits) * 1000, quantiles(waits, n=20)[18] * 1000))
        rows = [(*row, row[1] / rows[0][1]) for row in rows]
        table(
            f"Idle executor: commit of a submit to the handler's start, {ROUNDS} times",
            ("way", "p50 ms", "p95 ms", "ratio (aim ≤ 3)"),
            rows,
        )


if __name__ == "__main__":
    try:
        main()
    except psycopg.OperationalError as error:
        raise SystemExit(f"The benchmark's database could not be reached: {error}") from error
