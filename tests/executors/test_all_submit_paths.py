"""Jobs submitted in every way at once while executors and the drainer are killed and users cancel and retry: nothing is lost or doubled,
and history, rows and ledger agree."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from executor_site import FAST, Child, Site, Zygote
from sizes import size
from stack_fixtures import Project, User
from waiting import LIMIT, wait_for

from executors.shelf import Shelf

ROUNDS = size(4, 12)  # each round submits a job in every way
PROMPT = "a lighthouse at dusk"
SETTINGS = {"num_images": 3, "steps": 2}


class Doors:
    """Every way to submit, by name. Each returns the id of the one job it creates."""

    def __init__(self, project: Project, environment: dict[str, str]) -> None:
        self.project, self.environment = project, environment

    def post(self, user: User, path: str, **body: Any) -> Any:
        with self.project.client(user) as client:
            answer = client.post(path, json=body, headers={"Prefer": "return=representation"})
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def rpc(self, user: User) -> str:
        asked = {"job_type": "sdxl_image_fast", "prompt": PROMPT, "config": SETTINGS, "idempotency_key": str(uuid.uuid4())}
        first, again = (self.post(user, "/rest/v1/rpc/queue_job", **asked)["job_id"] for _ in range(2))
        assert first == again
        return str(first)

    def function(self, user: User) -> str:
        asked = {"jobType": "sdxl_image_high", "metadata": {"prompt": PROMPT, **SETTINGS}}
        return str(self.post(user, "/functions/v1/queue-job", **asked)["job"]["id"])

    def plain(self, user: User) -> str:
        row = {"user_id": user.id, "job_type": "image_fast", "metadata": {"prompt": PROMPT, "steps": 2}, "status": "queued"}
        return str(self.post(user, "/rest/v1/jobs", **row)[0]["id"])

    def message(self, user: User, job_id: str = "") -> str:
        job_id = job_id or str(uuid.uuid4())
        config = {"sample_steps": 2, "frame_num": 1}
        wire = {"id": job_id, "type": "image_fast", "prompt": PROMPT, "config": config, "user_id": user.id, "metadata": {}}
        for _ in range(2):
            self.project.valkey.call("LPUSH", "wan_queue", json.dumps(wire).encode())
        return job_id

    def both(self, user: User) -> str:
        return self.message(user, self.plain(user))

    def command(self, user: User) -> str:
        return str(self.ourvidz("submit", "sdxl_image_fast", "--prompt", PROMPT, "--steps", "2", "--user", user.id, "--json")["id"])

    def ourvidz(self, *words: str) -> Any:
        """The command's JSON output; fails if the command does."""
        argv = [sys.executable, "-m", "ourvidz.cli.main", *words]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return json.loads(done.stdout)


WAYS: tuple[Callable[[Doors, User], str], ...] = (Doors.rpc, Doors.function, Doors.plain, Doors.message, Doors.both)
# Leases short enough to expire; no job may be given up because of our faults.
POLICY = {**FAST, "lease": 2, "backoff_max": 0.5, "crash_limit": 10_000, "lapse_limit": 10_000, "max_attempts": 10_000}


class Works:
    """Two executors that share only the store, and a drainer: all of them may be killed."""

    def __init__(self, site: Site, zygote: Zygote, doors: Doors) -> None:
        self.site, self.zygote, self.doors = site, zygote, doors
        self.executors: list[Child] = [self.executor(n) for n in range(2)]
        self.drainer = self.drain()

    def executor(self, n: int) -> Child:
        return self.zygote.spawn(
            self.site.db.url, self.site.root / f"host{n}", self.site.root / "store", name=f"gpu{n}", flaky=0.05, seed=n
        )

    def drain(self) -> Child:
        with Path(os.devnull).open("wb") as nothing:
            return self.zygote.start("command", ["ourvidz", "intake", "run"], self.doors.environment, nothing.fileno())

    def kill_one_at_work(self) -> None:
        """Kill either if both are idle for two seconds."""
        sql = "select x.name from public.jobs as j join ourvidz.executors as x on x.id = j.executor_id limit 1"
        for _ in range(200):
            if found := self.site.db.rows(sql):
                return self.kill(int(found[0]["name"][-1]))
            time.sleep(0.01)
        self.kill(0)

    def kill(self, n: int) -> None:
        self.executors[n].signal(signal.SIGKILL)
        assert self.executors[n].wait() == -signal.SIGKILL
        self.executors[n] = self.executor(n)

    def kill_drainer(self) -> None:
        self.drainer.kill()
        self.drainer.wait()
        self.drainer = self.drain()

    def close(self) -> None:
        self.drainer.kill()
        self.drainer.wait()
        for worker in self.executors:
            worker.signal(signal.SIGKILL)
            worker.wait()


@pytest.fixture
def everything(project: Project, loaded: Shelf, zygote: Zygote, tmp_path: Path) -> Iterator[Works]:
    site = Site(project.database, loaded, tmp_path)
    site.policy(**POLICY)
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("OURVIDZ_", "DATABASE_URL", "PG", "SUPABASE_"))}
    paths = os.pathsep.join(p for p in sys.path if p)
    named = {"DATABASE_URL": project.database.url, "OURVIDZ_HOME": str(tmp_path / "home"), "PYTHONPATH": paths}
    redis = {name: value for name, value in project.environment.items() if name.startswith("UPSTASH_")}
    found = Works(site, zygote, Doors(project, ours | named | redis))
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.sized
@pytest.mark.timeout(400)
def test_nothing_is_lost_or_doubled_under_kills(everything: Works, project: Project) -> None:
    site, doors = everything.site, everything.doors
    choose, users = random.Random(7), [project.user("premium") for _ in range(3)]
    before = {user.id: balance(site, user) for user in users}
    made: dict[str, User] = {}
    cancelled: set[str] = set()
    for number in range(ROUNDS):
        for way in (*WAYS, *([Doors.command] if number % 4 == 0 else [])):
            user = choose.choice(users)
            made[way(doors, user)] = user
        everything.kill_one_at_work()
        if number % 3 == 0:
            everything.kill_drainer()
        job_id = choose.choice(list(made))
        with project.client(made[job_id]) as client:
            said = client.post("/rest/v1/rpc/cancel_job", json={"job_id": job_id})
            assert said.status_code in (200, 404, 409), said.text  # not drained yet; already ended
            if said.status_code == 200:
                cancelled.add(job_id)
                if number % 2:
                    client.post("/rest/v1/rpc/retry_job", json={"job_id": job_id})  # refused while the job is still being cancelled

    wait_for(lambda: {str(r["id"]) for r in site.db.rows("select id from public.jobs")} >= made.keys(), "for the drainer")
    wait_for(lambda: site.jobs.all_ended(list(made)), "for all to end")
    rows = {str(r["id"]): r for r in site.db.rows("select * from public.jobs")}
    assert rows.keys() == made.keys(), "one job for each that was asked for"
    assert {rows[job_id]["status"] for job_id in made.keys() - cancelled} == {"completed"}
    assert sum(r["status"] == "completed" for r in rows.values()) >= ROUNDS
    for job_id, row in rows.items():
        if row["status"] == "completed":
            for a in site.artifacts(job_id):
                stored = site.store.stat(a["bucket"], a["path"])
                assert stored is not None and stored.sha256 == a["sha256"]

    report = doors.ourvidz("audit", "--json")
    assert (report["jobs"], report["findings"], report["ledger"]) == (len(made), [], [])
    assert doors.ourvidz("rebuild", "--verify", "--json")["findings"] == []
    assert doors.ourvidz("tokens", "check", "--json") == {"findings": []}
    for user in users:
        sql = "select coalesce(sum(tokens_consumed), 0) as n from public.usage_logs where user_id = %s"
        assert before[user.id] - balance(site, user) == site.db.rows(sql, (user.id,))[0]["n"]
    seen = Counter(r["outcome"] for r in site.db.rows("select outcome from ourvidz.intake_messages"))
    assert seen["drained"] == ROUNDS and seen["joined"] == ROUNDS and seen["repeated"] >= 2 * ROUNDS and not seen["refused"]
    lapsed = site.db.rows("select count(*) as n from public.job_events where type = 'lease_expired'")[0]["n"]
    assert lapsed > 0, "the kills hit nothing"


def balance(site: Site, user: User) -> int:
    return int(site.db.rows("select token_balance as n from public.profiles where id = %s", (user.id,))[0]["n"])
