"""After an import: jobs submitted in every way at once while executors are killed. Expected: one job per request, images and videos
matching the events, and an audit without findings."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess
from typing import Any

import forked
import httpx
import pytest
from production_copy import ANNA, BORIS, CLARA
from stack_fixtures import User
from waiting import LIMIT

from ourvidz.audit import audit, rebuild
from ourvidz.db import ledger
from ourvidz.lifecycle import NewJob

from . import fake_executor
from .client_site import SCREEN, House
from .flows import ways, wire
from .table import filled

PEOPLE = (ANNA, BORIS, CLARA)
FAST = {"lease": 2, "backoff_base": 0.01, "backoff_max": 0.05, "crash_limit": 10_000, "lapse_limit": 10_000, "max_attempts": 10_000}
TRUE_TO_EVENTS = """
select i.id::text from public.images as i join public.jobs as j on j.id = i.job_id
left join public.artifacts as a
  on a.job_id = j.id and a.kind = 'image' and a.index = coalesce(i.image_index, 0) and a.uploaded_at is not null
where j.id = any (%s::uuid[]) and (i.status is distinct from j.status or i.image_url is distinct from a.path)
union all
select v.id::text from public.videos as v join public.jobs as j on j.video_id = v.id
left join public.artifacts as a on a.job_id = j.id and a.kind = 'video' and a.uploaded_at is not null
where j.id = any (%s::uuid[]) and (v.status is distinct from j.status or v.video_url is distinct from a.path)
"""


LEFT = "select id, user_id, job_type, status, ready, run_at, claim_no, crashed_on from public.jobs where completed_at is null"


class Ways:
    """Every way to submit, as its sender uses it. Each returns the id of the one job it creates; each message is sent twice."""

    def __init__(self, house: House) -> None:
        self.house = house

    def client(self, user: str) -> httpx.Client:
        return self.house.project.client(User(user, self.house.project.secret.user(user)))

    def post(self, user: str, path: str, body: Any) -> Any:
        with self.client(user) as client:
            answer = client.post(path, json=body, headers={"Prefer": "return=representation"})
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def patch(self, user: str, job: str, body: Any) -> None:
        with self.client(user) as client:
            assert client.patch(f"/rest/v1/jobs?id=eq.{job}", json=body).status_code == 204

    def row(self, user: str, table: str, row: Any, **known: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.post(user, f"/rest/v1/{table}", filled(row, {"user": {"id": user}, **known}))[0]
        return found

    def screen(self, user: str) -> str:
        """The workspace with our queue-job: three images."""
        kind = "sdxl_image_fast"
        job = str(self.post(user, "/functions/v1/queue-job", {"jobType": kind, "metadata": wire.metadata(kind, 3)})["job"]["id"])
        images = [self.row(user, "images", wire.image_row(kind, job, n)) for n in range(3)]
        self.patch(user, job, {"image_id": images[0]["id"]})
        return job

    def clip(self, user: str) -> str:
        kind = "video_fast"
        job = str(self.post(user, "/functions/v1/queue-job", {"jobType": kind, "metadata": wire.metadata(kind)})["job"]["id"])
        self.patch(user, job, {"video_id": self.row(user, "videos", wire.video_row(kind))["id"]})
        return job

    def deployed(self, user: str) -> str:
        """The workspace with the legacy queue-job: row, message, images row."""
        kind = "sdxl_image_high"
        told = {"user_id": user, "job_type": kind, "format": "image", "quality": "high", "model_type": kind, "status": "queued",
                "metadata": ways.deployed_metadata(kind, 1)}  # fmt: skip
        job = str(self.row(user, "jobs", told)["id"])
        self.push(user, kind, job)
        self.row(user, "images", wire.image_row(kind, job, 0))
        return job

    def message(self, user: str) -> str:
        job = str(uuid.uuid4())
        self.push(user, "image_fast", job)
        return job

    def push(self, user: str, kind: str, job: str) -> None:
        message = json.dumps(filled(ways.message(kind, job), {"user": {"id": user}})).encode()
        for _ in range(2):
            self.house.project.valkey.call("LPUSH", "sdxl_queue" if kind.startswith("sdxl") else "wan_queue", message)

    def rpc(self, user: str) -> str:
        asked = {"job_type": "image7b_fast_enhanced", "prompt": wire.PROMPT, "idempotency_key": str(uuid.uuid4())}
        first, again = (self.post(user, "/rest/v1/rpc/queue_job", asked)["job_id"] for _ in range(2))
        assert first == again
        return str(first)

    def command(self, user: str) -> str:
        """The call that `ourvidz submit` makes."""
        return self.house.jobs.submit(NewJob(user, "sdxl_image_premium", wire.PROMPT)).id


ALL: tuple[Callable[[Ways, str], str], ...] = (Ways.screen, Ways.clip, Ways.deployed, Ways.message, Ways.rpc, Ways.command)


class Works:
    """Executors in separate processes that are killed and replaced; reaper and intake run in this process."""

    def __init__(self, house: House, count: int = 3) -> None:
        self.house, self.stopping = house, threading.Event()
        self.hits: set[tuple[str, int]] = set()  # claims (job, number) held when their executor was killed
        self.processes = [self.start(n) for n in range(count)]
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self.reaping, self.draining, self.killing)]
        for thread in self.threads:
            thread.start()

    def start(self, n: int) -> ForkServerProcess:
        ours = {"DATABASE_URL": self.house.database.url, "OURVIDZ_HOME": str(self.house.home)}
        return forked.start(fake_executor.main, f"maker{n}", env={**os.environ, **self.house.project.environment, **ours})

    def reaping(self) -> None:
        while not self.stopping.wait(0.3):
            self.house.jobs.reap()

    def draining(self) -> None:
        while not self.stopping.wait(0.1):
            self.house.drain()

    def killing(self) -> None:
        """Stop (SIGSTOP) each before the kill, so that it sends nothing more: the claim that it holds is then given back, unless the
        statement that ends the job is already with the server."""
        held = """select x.name, j.id::text, j.claim_no from public.jobs as j join ourvidz.executors as x on x.id = j.executor_id
                  where x.name like 'maker_'"""
        while not self.stopping.wait(0.05):
            if not (found := self.house.database.rows(held)):
                continue
            n = int(found[0]["name"][-1])
            os.kill(self.processes[n].pid or 0, signal.SIGSTOP)
            self.hits |= {(r["id"], r["claim_no"]) for r in self.house.database.rows(held) if r["name"] == found[0]["name"]}
            self.processes[n].kill()
            self.processes[n].join()
            self.processes[n] = self.start(n)
            self.stopping.wait(3)

    def close(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(LIMIT)
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture
def works(house: House) -> Iterator[Works]:
    names = ", ".join(f"{name} = %s" for name in FAST)
    house.database.rows(f"update ourvidz.policy set {names}", tuple(FAST.values()))
    for user in PEOPLE:
        house.verify(user, 1_000_000)
    SCREEN.check("a pier")  # loads the rules now: during the storm that may exceed a check's time limit
    house.database.rows("update ourvidz.plans set unfinished = 1000, submits_per_minute = 10000")
    found = Works(house)
    yield found
    found.close()


def storm(house: House, works: Works, count: int, seconds: float) -> None:
    imported = house.database.rows("select id::text, user_id::text from public.jobs where status = 'queued'")
    waited = {r["id"] for r in imported if r["user_id"] in PEOPLE}  # other users' ages are unknown: their jobs keep waiting
    assert waited, "the import brought what waited"
    doors, choose = Ways(house), random.Random(5)
    asked = [(ALL[n % len(ALL)], choose.choice(PEOPLE)) for n in range(count)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda each: each[0](doors, each[1]), asked))
    assert len(set(made)) == count
    end, every = time.monotonic() + seconds, [*made, *waited]
    there = "select count(*) as n from public.jobs where id = any (%s::uuid[]) and completed_at is not null"
    while house.database.rows(there, (every,))[0]["n"] < len(every):
        assert time.monotonic() < end, house.database.rows(LEFT)
        time.sleep(0.2)
    works.close()
    statuses = {str(r["id"]): r["status"] for r in house.database.rows("select id, status from public.jobs")}
    assert {statuses[job] for job in made} == {"completed"}
    assert len(statuses) == len(made) + 44, "one job for each message, and those that were imported"
    assert house.database.rows(TRUE_TO_EVENTS, (every, every)) == []
    report = audit(house.database)
    assert report.findings == () and rebuild(house.database, verify=True) == () and ledger.check(house.database) == []
    outcomes = Counter(r["outcome"] for r in house.database.rows("select outcome from ourvidz.intake_messages"))
    assert not outcomes["refused"] and outcomes["drained"] + outcomes["joined"] == sum(
        each[0] in (Ways.deployed, Ways.message) for each in asked
    )
    ends = house.database.rows("select job_id::text, claim_no, type from public.job_events where type in ('lease_expired', 'completed')")
    given_back = {(r["job_id"], r["claim_no"]) for r in ends if r["type"] == "lease_expired"}
    assert works.hits & given_back, "the kills hit nothing"
    assert works.hits <= {(r["job_id"], r["claim_no"]) for r in ends}


@pytest.mark.parametrize("house", ["production"], indirect=True)
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_storm_after_the_import(house: House, works: Works) -> None:
    storm(house, works, 3 * len(ALL), 240)


@pytest.mark.parametrize("house", ["production"], indirect=True)
@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_two_hundred(house: House, works: Works) -> None:
    storm(house, works, 200, 1500)
