"""All faults at once: executors killed and stopped, Postgres stopped abruptly, failing uploads, cancels and retries.

`OURVIDZ_CHAOS_SEED` repeats a run's choices, but not the machine's timing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor_site import Child, Site, Zygote
from sizes import size
from support import as_job, events, new_user

from executors.shelf import Shelf
from ourvidz.db.connection import Database
from ourvidz.db.embedded import EmbeddedPostgres, embedded_url, status
from ourvidz.db.migrate import migrate
from ourvidz.lifecycle import NewJob
from state.errors import JobError
from state.events import GENESIS, event_hash
from state.job import fold

JOBS = size(30, 200)
FAULTS_FOR = 90.0  # seconds, or until all jobs have ended
ENDED_BY = 500.0
DECK = ("kill",) * size(2, 6) + ("stop",) * size(1, 3) + ("postgres",) * size(1, 3) + ("supervisor",) + ("cancel",) * size(2, 5)
DECK += ("retry",) * size(1, 3)
KINDS = [("sdxl_image_fast", {"images": 1}), ("sdxl_image_fast", {"images": 3}), ("image_fast", {}), ("image7b_fast_enhanced", {}),
         ("sdxl_image_high", {"steps": 4})]  # fmt: skip
# Leases short enough to expire often; no job may be given up because of our faults.
POLICY = {"lease": 3, "heartbeat": 0.5, "control_poll": 0.3, "backoff_base": 0.05, "backoff_max": 0.5,
          "crash_limit": 10_000, "lapse_limit": 10_000, "max_attempts": 10_000}  # fmt: skip


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    with EmbeddedPostgres(home) as server:
        database = Database(server.url)
        with database.transaction() as connection:
            migrate(connection)
        database.close()
        embedded_url(home)
        yield home
    if pid := status(home).supervisor_pid:
        os.kill(pid, signal.SIGTERM)


class Chaos:
    def __init__(self, site: Site, zygote: Zygote, home: Path, seed: int) -> None:
        self.site, self.zygote, self.home, self.seed = site, zygote, home, seed
        self.random = random.Random(seed)
        self.users = [new_user(site.db, "premium") for _ in range(8)]
        self.acknowledged: list[str] = []
        self.cancels: set[str] = set()
        self.done: Counter[str] = Counter()
        self.stopped: list[Child] = []
        self.dealt = threading.Event()  # set once every fault has occurred
        self.workers: list[Child] = [self.spawn(n) for n in range(4)]

    def spawn(self, n: int) -> Child:
        # Two hosts with two executors each that share the host's spool.
        return self.zygote.spawn(
            self.site.db.url, self.site.root / f"host{n // 2}", self.site.root / "store", name=f"gpu{n}",
            embedded=str(self.home), flaky=0.04, seed=self.seed,
        )  # fmt: skip

    def submit_all(self) -> None:
        choose = random.Random(self.seed + 1)
        while len(self.acknowledged) < JOBS or not self.dealt.is_set():
            wanted = []
            for _ in range(choose.randint(1, 8)):
                job_type, settings = choose.choice(KINDS)
                wanted.append(
                    NewJob(choose.choice(self.users), job_type, "a lighthouse", settings={"steps": choose.randint(1, 2), **settings})
                )
            self.acknowledged += [answer.id for answer in self.site.jobs.submit_many(wanted)]
            time.sleep(choose.uniform(0, 0.6))

    # -- faults ----------------------------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        n = self.random.randrange(4)
        self.workers[n].signal(signal.SIGKILL)
        assert self.workers[n].wait() == -signal.SIGKILL
        self.workers[n] = self.spawn(n)

    def stop(self) -> None:
        worker = self.random.choice(self.workers)
        if len(self.stopped) < 2 and worker not in self.stopped:
            worker.signal(signal.SIGSTOP)
            self.stopped.append(worker)
            # In a separate thread: the stopped process may hold the lock under which Postgres is started, and then this test waits too.
            threading.Timer(self.random.choice((0.5, 2, 5, 8)), self.wake, [worker]).start()  # a lease is 3
        else:
            self.done["stop"] -= 1

    def wake(self, worker: Child) -> None:
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile
            worker.signal(signal.SIGCONT)
        self.stopped.remove(worker)

    def postgres(self) -> None:
        if pid := status(self.home).postmaster_pid:
            # The signal of `pg_ctl -m immediate stop`, or the kernel's when memory is short.
            os.kill(pid, self.random.choice((signal.SIGQUIT, signal.SIGKILL)))

    def supervisor(self) -> None:
        now = status(self.home)
        if now.supervisor_pid and now.postmaster_pid:
            os.kill(now.supervisor_pid, signal.SIGKILL)  # its server follows it; only the executors' own calls bring both back

    def cancel(self) -> None:
        running = self.site.db.patient("select id from public.jobs where completed_at is null order by random() limit 1")
        try:
            for job in running:
                self.cancels.add(str(job["id"]))
                self.site.jobs.cancel(str(job["id"]))
                return
        except JobError:
            pass  # it has ended meanwhile
        self.done["cancel"] -= 1

    def retry(self) -> None:
        ended = self.site.db.patient("select id from public.jobs where status in ('cancelled', 'failed') limit 20")
        if ended:
            self.site.jobs.retry(str(self.random.choice(ended)["id"]))
        else:
            self.done["retry"] -= 1

    def survived(self) -> None:
        """Assert that no executor has exited by itself."""
        for n, worker in enumerate(self.workers):
            log = self.site.root / f"host{n // 2}" / f"log-gpu{n}"
            assert worker.poll() is None, f"gpu{n} ended with {worker.returncode}: {log.read_text()[-3000:]}"

    def all_ended(self) -> bool:
        return not self.submitter.is_alive() and self.site.jobs.all_ended(self.acknowledged)

    def run(self) -> None:
        self.submitter = threading.Thread(target=self.submit_all, daemon=True)
        self.submitter.start()
        begun = time.monotonic()
        deck: list[str] = []
        while not self.all_ended():
            elapsed = time.monotonic() - begun
            assert elapsed < ENDED_BY, self.site.db.rows("select status, count(*) from public.jobs group by 1")
            self.survived()
            if elapsed < FAULTS_FOR:
                deck = deck or self.random.sample(DECK, len(DECK))
                fault = deck.pop()
                self.done[fault] += 1
                getattr(self, fault)()
                if all(self.done[kind] > 0 for kind in DECK):
                    self.dealt.set()
            time.sleep(self.random.uniform(0.2, 0.7))
        for worker in self.workers:
            worker.signal(signal.SIGCONT)
            worker.signal(signal.SIGTERM)
        assert [worker.wait() for worker in self.workers] == [0] * 4


@pytest.mark.slow
@pytest.mark.sized
def test_every_acknowledged_job_ends_exactly_once_under_faults(
    postgres: Path, zygote: Zygote, loaded: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("OURVIDZ_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    database = Database(embedded_url(postgres), revive=lambda: embedded_url(postgres))
    site = Site(database, loaded, tmp_path / "site")
    site.jobs.patience = 60
    site.policy(**POLICY)
    print(f"OURVIDZ_CHAOS_SEED={seed}")  # shown on failure
    chaos = Chaos(site, zygote, postgres, seed)
    begun = time.monotonic()
    chaos.run()

    ids = chaos.acknowledged
    rows = {str(r["id"]): r for r in database.patient("select * from public.jobs")}
    told = {job_id: list(group) for job_id, group in itertools.groupby(events(database, *ids), key=lambda e: e.job_id)}
    seen = Counter(e.type.value for group in told.values() for e in group)
    classes = Counter(e.data["class"] for group in told.values() for e in group if e.type == "retry_scheduled")
    with capsys.disabled():
        print(f"\nchaos seed {seed}: {len(ids)} jobs in {time.monotonic() - begun:.0f} s; faults {dict(chaos.done)}")
        print(f"events {dict(seen)}; errors {dict(classes)}; ended {dict(Counter(r['status'] for r in rows.values()))}")

    assert set(ids) <= set(rows)  # no acknowledged job is lost
    for job_id in ids:
        previous = GENESIS
        for version, event in enumerate(told[job_id], 1):
            assert (event.version, event.prev_hash, event.hash) == (version, previous, event_hash(event))
            previous = event.hash
        assert fold(told[job_id], job_id) == as_job(rows[job_id])
        ended = [e.type.value for e in told[job_id] if e.type in ("completed", "failed")]
        if rows[job_id]["status"] == "cancelled":
            assert job_id in chaos.cancels and ended == []
        else:
            assert ended == ["completed"]
            artifacts = site.artifacts(job_id)
            assert artifacts and len(artifacts) % 2 == 0
            for a in artifacts:
                stored = site.store.stat(a["bucket"], a["path"])
                assert stored is not None and (stored.sha256, stored.bytes) == (a["sha256"], a["bytes"])
    for kind in set(DECK):
        assert chaos.done[kind] > 0, kind
    for event in ("lease_expired", "retry_scheduled", "cancelled", "retried", "completed"):
        assert seen[event] > 0, event
    assert set(classes) == {"storage_unavailable"}  # our faults are never mistaken for the job's
    database.close()
