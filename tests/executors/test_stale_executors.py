"""Executors that are late, not dead: stopped, or with a hung device. The job's new holder is not disturbed."""

from __future__ import annotations

import math
import signal
import threading

import pytest
from executor_site import SEED, ProbeShelf, Site, Zygote, running
from sqlalchemy import make_url
from support import Server, Switch, types
from waiting import LIMIT, wait_for

from executors.errors import Cancelled, LeaseLost
from executors.heartbeat import Heartbeat, Hold
from ourvidz.db.connection import DatabaseAway
from ourvidz.lifecycle import Claim
from state.errors import StaleClaim


def everything(site: Site, job_id: str) -> tuple[object, ...]:
    """Everything that a stale executor could disturb."""
    objects = sorted(
        (p.relative_to(site.store._root), p.stat().st_mtime_ns, p.read_bytes()) for p in site.store._root.rglob("*.*") if p.is_file()
    )
    return site.row(job_id), types(site.db, job_id), site.artifacts(job_id), objects


@pytest.fixture
def short(site: Site) -> Site:
    site.policy(lease=2.0)
    return site


@pytest.mark.parametrize("images", [1, 3])
def test_a_resumed_executor_writes_nothing(short: Site, zygote: Zygote, images: int) -> None:
    site = short
    job_id = site.submit(steps=4, images=images)
    # With three images it stops in the second; the first is recorded and in its spool.
    at = 2 if images == 1 else 6
    with running(zygote.spawn(site.db.url, site.root / "stopped", site.root / "store", stop_at_step=at)) as child:
        wait_for(child.stopped)
        assert site.row(job_id)["status"] == "generating"
        site.work(job_id, home="other")
        site.completed(job_id, images)
        before = everything(site, job_id)

        child.signal(signal.SIGCONT)
        again = wait_for(lambda: site.db.rows("select id from ourvidz.executors where name = 'first' and state = 'active'"))
        assert everything(site, job_id) == before

        # It is a new executor now, and works.
        following = site.submit()
        wait_for(lambda: "completed" in site.types(following))
        assert site.data(following, "claimed")[0]["executor_id"] == str(again[0]["id"])
        child.signal(signal.SIGTERM)
        assert child.wait() == 0
    assert everything(site, job_id)[:3] == before[:3]
    site.completed(job_id, images)


def test_a_hung_device_loses_its_lease_while_its_process_lives(short: Site) -> None:
    site = short
    site.policy(step_stall=0.5)
    hangs, released = threading.Event(), threading.Event()

    def hang(done: int, total: int) -> None:
        if not released.is_set():
            hangs.set()
            released.wait(LIMIT)

    job_id = site.submit(steps=3)
    stuck_shelf = ProbeShelf(site.loaded, hang)
    stuck = site.worker("stuck", shelf=stuck_shelf)
    site.start(stuck)
    assert hangs.wait(LIMIT)
    heartbeat = stuck.heartbeat
    assert heartbeat is not None
    site.work(job_id, home="other")
    site.completed(job_id)
    before = everything(site, job_id)
    assert heartbeat._thread.is_alive()
    assert site.data(job_id, "lease_expired")[0] | {"run_at": ""} == {
        "executor": "stuck", "on_device": True, "cause": "lease ran out", "run_at": "",
    }  # fmt: skip

    released.set()
    wait_for(lambda: stuck.heartbeat is not heartbeat, "for the stuck one to register anew")
    assert stuck_shelf.sdxl.outputs == 0  # it stopped at that step
    assert everything(site, job_id) == before
    following = site.submit()
    wait_for(lambda: "completed" in site.types(following))
    assert everything(site, job_id)[:3] == before[:3]


def test_a_hang_within_the_limit_keeps_the_lease(short: Site) -> None:
    site = short
    site.policy(lease=0.8, step_stall=30)
    late, job_id = threading.Event(), site.submit(steps=2)

    def slow(done: int, total: int) -> None:
        if done == 1:
            late.wait(2)  # never set: longer than a lease

    site.work(job_id, shelf=ProbeShelf(site.loaded, slow))
    site.completed(job_id)
    assert "lease_expired" not in site.types(job_id)


def test_an_upload_by_a_stale_claim_is_refused_before_and_after_the_object_is_stored(site: Site) -> None:
    """The fence is in the database: an executor that was told nothing (its heartbeat sleeps) still changes no row."""
    site.policy(heartbeat=60, control_poll=60)
    job_id = site.submit()
    stored = []

    def taken(path: str) -> None:
        if not stored:
            stored.append(path)
            lose(site, job_id)
            site.policy(heartbeat=0.3, control_poll=0.1)
            site.work(job_id, home="other", store=type(site.store)(site.root / "store"))
            stored.append(everything(site, job_id)[:3])

    site.store.trouble = taken
    site.work(job_id)
    site.completed(job_id)
    assert everything(site, job_id)[:3] == stored[1]
    # Its object is at its own claim's path, which no row names: swept later, in nobody's way.
    assert stored[0] not in {a["path"] for a in site.artifacts(job_id)}


def lose(site: Site, job_id: str) -> None:
    site.jobs.executor_gone(str(site.row(job_id)["executor_id"]))


def test_every_write_of_a_stale_claim_is_refused(site: Site) -> None:
    job_id = site.submit()
    mine, theirs = (site.jobs.register(name, "host", 1, ["sdxl"]) for name in ("mine", "theirs"))
    (old,) = site.jobs.claim(mine)
    site.jobs.advance(old, "generation_started")
    lose(site, job_id)
    (new,) = site.jobs.claim(theirs)
    forged = Claim(**{**old.__dict__, "claim_no": new.claim_no})  # right claim number, wrong token
    artifact = {"index": 0, "kind": "image", "sha256": "0" * 64, "bytes": 1, "bucket": "b", "path": "p.png", "media_type": "image/png",
                "width": 1, "height": 1, "seed": SEED}  # fmt: skip
    before = everything(site, job_id)
    for claim in (old, forged):
        for write in (
            lambda c: site.jobs.advance(c, "generation_started"),
            lambda c: site.jobs.enhanced(c, "text", seconds=1, tokens=1),
            lambda c: site.jobs.artifact_generated(c, artifact),
            lambda c: site.jobs.artifact_uploaded(c, "image", 0, "0" * 64),
            site.jobs.complete,
            lambda c: site.jobs.fail(c, "unexpected", "no"),
            lambda c: site.jobs.snooze(c, "drain"),
            site.jobs.honour_cancel,
        ):
            with pytest.raises(StaleClaim):
                write(claim)
        assert site.jobs.advance_many([claim], "generation_started") == []
        assert site.jobs.complete_many([claim]) == []
    assert everything(site, job_id) == before


def test_no_heartbeat_for_a_lease_stops_the_work(site: Site) -> None:
    now = [100.0]
    job_id, executor = site.submit(), site.jobs.register("first", "host", 1, ["sdxl"])
    beat = Heartbeat(site.jobs, executor, site.jobs.policy(), report=dict, clock=lambda: now[0])
    (claim,) = site.jobs.claim(executor)
    hold = beat.hold(claim)
    now[0] += 29
    hold.check()
    now[0] += 2  # the lease is over for all we know, though nobody told us
    with pytest.raises(LeaseLost):
        hold.check()
    assert site.row(job_id)["claim_no"] == 1


def test_the_lease_is_counted_from_when_a_heartbeat_was_sent(site: Site) -> None:
    now = [100.0]
    executor = site.jobs.register("first", "host", 1, ["sdxl"])
    beat = Heartbeat(site.jobs, executor, site.jobs.policy(), report=dict, clock=lambda: now[0])
    heartbeat = site.jobs.heartbeat

    def slow(*args: object, **more: object) -> None:
        heartbeat(*args, **more)  # type: ignore[arg-type]
        now[0] += 20  # a slow answer

    site.jobs.heartbeat = slow  # type: ignore[method-assign,assignment]
    beat._beat()
    now[0] += 9
    assert not beat.late
    now[0] += 2
    assert beat.late


def test_a_lost_or_cancelled_job_is_learned_by_polling(site: Site) -> None:
    job_id, executor = site.submit(), site.jobs.register("first", "host", 1, ["sdxl"])
    beat = Heartbeat(site.jobs, executor, site.jobs.policy(), report=dict)
    (claim,) = site.jobs.claim(executor)
    hold = beat.hold(claim)
    beat._look()
    hold.check()
    site.jobs.cancel(job_id)
    beat._look()
    with pytest.raises(Cancelled):
        hold.check()
    lose(site, job_id)
    beat._look()
    with pytest.raises(LeaseLost):
        hold.check()


def test_a_hung_thread_is_ended_after_an_outage(site: Site, server: Server) -> None:
    now = [100.0]
    job_id, executor = site.submit(), site.jobs.register("first", "host", 1, ["sdxl"])
    site.jobs.patience = math.inf
    beat = Heartbeat(site.jobs, executor, site.jobs.policy(), report=dict, clock=lambda: now[0])
    hold = beat.hold(site.jobs.claim(executor)[0])
    hold.watch.touch("upload", 5.0)
    now[0] += 6
    switch = Switch(server, make_url(site.db.url).database)
    switch.read_only(on=True)
    with pytest.raises(DatabaseAway):  # does not wait for the database
        beat._look()
    assert not hold.lost
    switch.read_only(on=False)
    beat._look()
    assert hold.lost and site.data(job_id, "retry_scheduled")[0]["class"] == "stalled"


def test_a_claim_made_during_a_poll_is_not_taken_for_lost(site: Site) -> None:
    first, second = site.submit(), site.submit()
    executor = site.jobs.register("first", "host", 1, ["sdxl"])
    beat = Heartbeat(site.jobs, executor, site.jobs.policy(), report=dict)
    beat.hold(site.jobs.claim(executor)[0])
    asked = site.jobs.held

    def slow(executor_id: str) -> object:
        found = asked(executor_id)
        late.append(beat.hold(site.jobs.claim(executor)[0]))
        return found

    late: list[Hold] = []
    site.jobs.held = slow  # type: ignore[method-assign,assignment]
    beat._look()
    late[0].check()
    assert {hold.claim.job_id for hold in beat.holds.values()} == {first, second}


def test_releasing_a_first_claim_keeps_the_second(site: Site) -> None:
    job_id, executor = site.submit(), site.jobs.register("first", "host", 1, ["sdxl"])
    beat = Heartbeat(site.jobs, executor, site.jobs.policy(), report=dict)
    (claim,) = site.jobs.claim(executor)
    first = beat.hold(claim)
    site.jobs.snooze(claim, "drain")
    second = beat.hold(site.jobs.claim(executor)[0])
    beat.let_go(first)
    site.jobs.cancel(job_id)
    beat._look()
    with pytest.raises(Cancelled):
        second.check()
