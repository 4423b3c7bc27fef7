"""The whole cutover and its rollback, step by step with an operator's commands, on a database built like production."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_command import Answer, Command, environment
from legacy_system import Older
from production_copy import ANNA, CLARA
from support import Permissive, Server, executor, finish

from ourvidz.db import intake
from ourvidz.db.connection import Database
from ourvidz.db.embedded import EmbeddedPostgres
from ourvidz.delivery.deliverer import Deliverer
from ourvidz.delivery.receivers import follow_environment
from ourvidz.delivery.sending import Keyring
from ourvidz.dev.upstash import UpstashFace
from ourvidz.intake.drain import Drainer
from ourvidz.intake.message import QUEUES
from ourvidz.intake.upstash import Upstash
from ourvidz.lifecycle import Jobs


class Rehearsal:
    """The service, its legacy system, and this program's commands. `said` holds the output of each, for docs/cutover.md."""

    def __init__(self, server: Server, production: Database, upstash: UpstashFace, folder: Path) -> None:
        self.database, self.upstash, self.folder = production, upstash, folder
        self.older = Older(server, production, upstash)
        redis = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
        self.service = Command(environment(folder / "service", DATABASE_URL=production.url, **redis), folder)
        self.beside = Command(environment(folder / "beside", **redis), folder)
        self.said: list[tuple[str, Answer]] = []

    def __call__(self, *words: str, beside: bool = False, code: int = 0) -> Answer:
        answer = (self.beside if beside else self.service)("cutover", *words)
        self.said.append((f"ourvidz cutover {' '.join(words)}", answer))
        assert answer.code == code, answer
        return answer

    def drain(self, database: Database) -> dict[str, int]:
        redis = Upstash(self.upstash.url, self.upstash.token)
        drainer = Drainer(database, redis, QUEUES, shared=lambda: intake.intake_users(database))
        while drainer.once():
            pass
        redis.close()
        return drainer.totals

    def words(self) -> dict[str, str]:
        return {str(r["id"]): r["status"] for r in self.database.rows("select id, status from public.jobs")}


@pytest.fixture
def rehearsal(server: Server, production: Database, upstash: UpstashFace, tmp_path: Path) -> Rehearsal:
    """A Rehearsal in which all jobs waiting in production have their messages."""
    found = Rehearsal(server, production, upstash, tmp_path)
    for job in production.rows("select id::text, user_id::text, job_type from public.jobs where status = 'queued' order by created_at"):
        found.older.push(job["user_id"], job["id"], job["job_type"])
    return found


def make_all(jobs: Jobs, gpu: str) -> list[str]:
    """Run an executor until nothing can be claimed; returns the job ids."""
    made: list[str] = []
    while found := jobs.claim(gpu):
        for job in found:
            finish(jobs, job)
            made.append(job.job_id)
    return made


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_cutover_and_rollback(rehearsal: Rehearsal, tmp_path: Path) -> None:
    older, database = rehearsal.older, rehearsal.database
    before = rehearsal.words()

    # 1. Shadow: reads only, makes nothing.
    seen = rehearsal("shadow")
    assert "sdxl_image_fast" in seen.out and rehearsal.words() == before
    assert database.rows("select to_regnamespace('ourvidz') as there")[0]["there"] is None
    assert rehearsal.upstash.valkey.call("LLEN", "sdxl_queue") > 0

    # 2. Share the queue with legacy workers: one user's messages here, all others there, each job made once.
    rehearsal("share", "--user", ANNA, beside=True)
    ours = work_beside(rehearsal, tmp_path / "beside", [older.queue(ANNA) for _ in range(4)], [older.queue(CLARA) for _ in range(4)])
    assert len(ours) >= 4 and not set(ours) & set(older.made)
    assert rehearsal.upstash.valkey.call("LLEN", "sdxl_queue") == 0

    # 3. The switch waits for jobs that legacy workers hold.
    last = older.queue(CLARA)
    held = older.take()
    assert held is not None and held["id"] == last
    refused = rehearsal("switch", "--yes", code=1)
    assert "without a message" in refused.err
    older.make(held)
    waits = older.queue(ANNA)
    rehearsal("switch", "--yes", "--force")
    assert rehearsal.words()[last] == "completed"

    # 4. The legacy functions stay deployed for a while: row, message, callback.
    verify = "update public.profiles set age_verified = true, subscription_status = 'premium' where id = any (%s::uuid[])"
    database.rows(verify, ([ANNA, CLARA],))
    for user in (ANNA, CLARA):
        database.rows("select ourvidz.grant_tokens(%s, 1000, 'for the rehearsal')", (user,))
    asked = older.queue(CLARA, images=3)
    rehearsal.drain(database)
    jobs = Jobs(database, Permissive())
    gpu = executor(jobs, lanes=("sdxl", "sdxl_ip"))
    made = make_all(jobs, gpu)
    assert {asked, waits} <= set(made) and len(made) == len(set(made))
    rehearsal("watch")
    stolen = older.queue(CLARA)
    assert older.take() is not None
    database.rows("select 1")
    assert rehearsal.words()[stolen] == "queued"

    # 5. Rollback, with the work done meanwhile.
    database.rows("update ourvidz.executors set state = 'gone'")
    rehearsal("back", "--yes")
    now = rehearsal.words()
    assert (now[asked], now[waits], now[last], now[stolen]) == ("completed", "completed", "completed", "queued")
    assert now.keys() >= before.keys()
    older.work()
    assert rehearsal.words()[stolen] == "completed", "an older worker makes what was unfinished"
    new = older.queue(ANNA)
    older.work()
    assert rehearsal.words()[new] == "completed"


def work_beside(rehearsal: Rehearsal, home: Path, ours: list[str], theirs: list[str]) -> list[str]:
    """This machine and a legacy worker share the queue; both report to the legacy callback. Returns our job ids."""
    older = rehearsal.older
    with EmbeddedPostgres(home) as postgres, older.listening() as url:
        alone = Database(postgres.url)
        jobs = Jobs(alone, Permissive())
        gpu = executor(jobs)
        environ = {"CALLBACK_SECRET": "any-24-bytes-will-do-for-the-older-callback"}
        assert follow_environment(alone, url, signs=True)
        taken = rehearsal.drain(alone)
        older.work()
        made = make_all(jobs, gpu)
        Deliverer(alone, Keyring(environ, url, "service-key")).run(once=True)
        alone.close()
    assert taken["drained"] == len(made) >= len(ours)
    words = rehearsal.words()
    assert {words[job] for job in (*ours, *theirs)} == {"completed"}
    assert set(ours) <= set(made) and set(theirs) <= set(older.made)
    return made
