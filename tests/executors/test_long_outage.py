"""`ourvidz up` with its default times through 84 seconds of a read-only database, while jobs are submitted in every way."""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from dataclasses import asdict

import pytest
from executor_site import Site, Zygote
from sqlalchemy import make_url
from support import Permissive, Server, Switch
from up_site import Up, running
from waiting import LIMIT, wait_for

from executors.orchestrator.policy import Rules
from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace
from ourvidz.lifecycle import Jobs, NewJob
from state.policy import POLICY

OUTAGE = 84.0  # seconds: a reported outage, after which a machine never recovered
FIGURES = {name: getattr(POLICY, name) for name in ("lease", "heartbeat", "control_poll", "backoff_base", "backoff_max")}


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_outage_of_84_seconds(site: Site, server: Server, zygote: Zygote, upstash: UpstashFace) -> None:
    site.policy(**FIGURES)
    site.db.rows("update ourvidz.plans set submits_per_minute = 100000, unfinished = 100000")
    env = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
    message = {"type": "sdxl_image_fast", "prompt": "a lighthouse", "user_id": site.user, "config": {"num_inference_steps": 1}}
    made: list[str] = []
    stop = threading.Event()
    far = Database(site.db.url)

    def submit() -> None:
        jobs = Jobs(far, Permissive(), patience=math.inf)
        while not stop.wait(0.5):
            made.append(jobs.submit(NewJob(site.user, "sdxl_image_fast", "a harbour", settings={"steps": 1, "seed": 4711})).id)

    def push() -> None:
        while not stop.wait(0.5):
            made.append(str(uuid.uuid4()))
            upstash.valkey.call("LPUSH", "sdxl_queue", json.dumps({"id": made[-1], **message}).encode())

    switch = Switch(server, make_url(site.db.url).database)
    with running(Up(site, zygote, site.root / "up", "--executors", "2", light=True, env=env, rules=asdict(Rules()))) as up:
        up.executor("t-cpu-0")
        up.executor("t-cpu-1")
        threads = [threading.Thread(target=act, daemon=True) for act in (submit, push)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(up.children()) >= 5 and len(made) > 10, lambda: up.text)
        before = up.children()
        switch.read_only(on=True)
        try:
            time.sleep(OUTAGE)
        finally:
            switch.read_only(on=False)
        reached = len(made)
        wait_for(lambda: len(made) > reached + 10, "for submits to go on")
        stop.set()
        for thread in threads:
            thread.join(LIMIT)
        open_ = "select count(*)::int as n from public.jobs where id = any (%s::uuid[]) and status <> 'completed'"
        there = "select count(*)::int as n from public.jobs"
        wait_for(lambda: site.db.rows(there)[0]["n"] >= len(made), lambda: up.text)
        wait_for(lambda: site.db.rows(open_, (made,))[0]["n"] == 0, lambda: up.text)
        assert up.children() == before, up.text
        assert not up.said("given up") and not up.said("hangs")
        troubles = "select type, count(*)::int as n from public.job_events where type in ('lease_expired', 'retry_scheduled') group by type"
        assert site.db.rows(troubles) == [], up.text
        twice = "select job_id from public.job_events where type = 'completed' group by job_id having count(*) > 1"
        assert site.db.rows(twice) == []
        assert upstash.valkey.call("LLEN", "sdxl_queue:dead") == 0
    far.close()
