"""Failover: time from kill -9 of an executor that holds running jobs until another has them.

    python -m bench.failover

Aims: within the lease (30 s) if nobody saw it die; within 2 s if a supervisor did.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

from bench.ground import connect, ground, hands, profile, submit
from bench.report import table

JOBS = 10


def hold(url: str, holding: Any) -> None:
    """Run an executor with ten running jobs that sends heartbeats until it is killed."""
    jobs = hands(url)
    executor = jobs.register("doomed", "bench", os.getpid(), ["sdxl"])
    claims = jobs.claim(executor, limit=JOBS)
    jobs.advance_many(claims, "generation_started")
    jobs.heartbeat(executor)
    holding.put((executor, {claim.job_id for claim in claims}))
    while True:
        jobs.heartbeat(executor)
        time.sleep(5)


def rescue(url: str, *, supervised: bool) -> float:
    """Seconds from the kill until another executor, which reaps and polls as a worker does, has all jobs."""
    context = multiprocessing.get_context("spawn")
    holding = context.Queue()
    with connect(url) as connection:
        submit(connection, profile(connection), JOBS)
    doomed = context.Process(target=hold, args=(url, holding))
    doomed.start()
    executor, wanted = holding.get()
    jobs = hands(url)
    other = jobs.register("heir", "bench", os.getpid(), ["sdxl"])
    assert doomed.pid is not None
    os.kill(doomed.pid, signal.SIGKILL)
    killed = time.perf_counter()
    doomed.join()
    if supervised:
        jobs.executor_gone(executor, "killed")
    while wanted:
        wanted -= {claim.job_id for claim in jobs.claim(other, limit=JOBS)}
        jobs.reap()
        jobs.heartbeat(other)
        time.sleep(0.5 if wanted else 0)
    taken = time.perf_counter() - killed
    jobs.drain(other, done=True)
    jobs.db.close()
    return taken


def main(argv: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    with ground() as url:
        rows = [
            ("a supervisor saw it die", rescue(url, supervised=True), 2.0),
            ("nobody saw it", rescue(url, supervised=False), 30.0),
        ]
        table(f"kill -9 of an executor with {JOBS} running jobs", ("case", "seconds until another has them", "aim ≤"), rows)


if __name__ == "__main__":
    main()
