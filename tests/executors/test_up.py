"""`ourvidz up` with real processes: whatever is killed, by any signal, is restarted, and its job is resumed or finished elsewhere."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from executor_site import Site, Zygote
from sqlalchemy import make_url
from support import Server, Switch
from up_site import SCRIPT, Up, alive, kill, running
from waiting import LIMIT, wait_for

from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace

LONG = 120.0  # a lease that no test waits for: any change meanwhile was the supervisor's


@pytest.fixture(scope="module")
def up(shared_site: Site, zygote: Zygote) -> Iterator[Up]:
    """Two executors on the CPU."""
    shared_site.policy(lease=LONG)
    rules = {"pulse_limit": 6.0}  # the deliverer sleeps for two seconds
    with running(Up(shared_site, zygote, shared_site.root / "up", "--executors", "2", light=True, rules=rules)) as up:
        up.executor("t-cpu-0")
        up.executor("t-cpu-1")
        yield up


def gated(up: Up, **settings: object) -> str:
    """A job that stays on the device until the gate is opened."""
    up.gate.touch()
    return up.site.submit(steps=1, **settings)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSEGV, marks=pytest.mark.nightly)])
def test_a_killed_executors_job_moves_to_another_at_once(up: Up, number: int) -> None:
    site, job_id = up.site, gated(up)
    first = up.holder(job_id)
    kill(first["pid"], number)
    second = up.holder(job_id, first["pid"])
    up.open()
    up.status(job_id, "completed")
    site.completed(job_id)
    # The lease would have lasted two minutes: the supervisor noticed the death, and the other executor was free.
    assert [e["cause"] for e in site.data(job_id, "lease_expired")] == ["died"]
    assert second["name"] != first["name"]
    assert up.executor(first["name"], first["pid"]) != first["pid"]
    assert up.said(f"{first['name']}: process {first['pid']} was killed by {signal.Signals(number).name}")


def test_an_executor_sent_sigterm_finishes_its_job_and_is_replaced(up: Up) -> None:
    job_id = gated(up)
    first = up.holder(job_id)
    kill(first["pid"], signal.SIGTERM)
    wait_for(lambda: up.said(f"{first['name']} | Finishing"), "for it to hear")
    up.open()
    up.status(job_id, "completed")
    assert [e["executor"] for e in up.site.data(job_id, "claimed")] == [first["name"]]
    up.executor(first["name"], first["pid"])


def test_a_stopped_executor_is_killed_and_replaced(up: Up) -> None:
    site, job_id = up.site, gated(up)
    first = up.holder(job_id)
    site.policy(lease=2.0)
    kill(first["pid"], signal.SIGSTOP)
    # Its lease was granted for LONG: shorten it here instead of waiting.
    site.db.rows("update ourvidz.executors set lease_until = now() + interval '1 s' where id = %s", (first["id"],))
    up.holder(job_id, first["pid"])
    wait_for(lambda: not alive(first["pid"]), lambda: up.text)
    assert up.said(f"{first['name']}: process {first['pid']} hangs (")
    up.open()
    up.status(job_id, "completed")
    site.completed(job_id)
    up.executor(first["name"], first["pid"])
    site.policy(lease=LONG)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_a_reaper_that_dies_or_hangs_is_replaced(up: Up, number: int) -> None:
    before = up.text.count("The reaper is at work.")
    first = wait_for(lambda: up.children().get("reaper"))
    kill(first, number)
    again = wait_for(lambda: (pid := up.children().get("reaper", first)) != first and pid, "for another reaper")
    assert not alive(first)
    wait_for(lambda: up.said("The reaper is at work.", before + 1) and alive(again), "for it to work")


def test_no_process_is_given_up_while_the_database_is_read_only(up: Up, server: Server) -> None:
    """Short form of test_outage_of_84_seconds."""
    site, job_id = up.site, gated(up)
    for name in ("t-cpu-0", "t-cpu-1"):
        up.executor(name)
    wait_for(lambda: {"reaper", "deliverer"} <= set(up.children()), lambda: up.text)
    up.holder(job_id)
    switch, before = Switch(server, make_url(site.db.url).database), up.children()
    switch.read_only(on=True)
    try:
        with psycopg.connect(site.db.url, autocommit=True) as connection:  # expire every lease, as after 84 s
            connection.execute("set default_transaction_read_only = off")
            connection.execute("update ourvidz.executors set lease_until = now() - interval '54 s' where state = 'active'")
        parts = ("up", *(name for name in before if name != "intake"))
        wait_for(lambda: all(up.said(f"{name} | The database takes no writes") for name in parts), lambda: up.text)
        up.open()  # the image is made, but cannot be recorded
    finally:
        switch.read_only(on=False)
    up.status(job_id, "completed")
    site.completed(job_id)
    assert up.children() == before, up.text
    assert not {"lease_expired", "retry_scheduled"} & set(site.types(job_id)), up.text
    assert not up.said("given up")


def test_a_second_up_is_refused(up: Up) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "up", "--name", "t"], env=up.env, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert f"`ourvidz up` runs here already (process {up.pid})" in done.stderr


def test_killing_up_kills_its_processes_and_the_next_up_takes_over(up: Up, zygote: Zygote) -> None:
    """The last test that uses this one."""
    site, job_id = up.site, gated(up)
    up.holder(job_id)
    children = up.children()
    assert set(children) == {"t-cpu-0", "t-cpu-1", "reaper", "deliverer"}
    up.signal(signal.SIGKILL)
    up.left()  # its lock is free
    wait_for(lambda: not any(alive(pid) for pid in children.values()), "for the children to die with it")
    up.open()
    with running(Up(site, zygote, up.home, "--executors", "2", light=True)) as after:
        after.status(job_id, "completed")
        assert [e["cause"] for e in site.data(job_id, "lease_expired")] == ["left behind"]
        after.signal(signal.SIGTERM)
        assert after.left() == 0
        assert not site.db.rows("select 1 from ourvidz.executors where state <> 'gone'")


STARTS = """
import os, time
from executors.orchestrator.process import Process
print(Process(["/bin/sleep", "600"], os.environ).pid, flush=True)
time.sleep(600)
"""


def test_child_programs_die_with_up() -> None:
    """The leash does it; the test above covers it for forked processes without an exec."""
    with subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        started = int(parent.stdout.readline())
        assert alive(started)
        parent.kill()
    wait_for(lambda: not alive(started), "for the child to die with it")


def test_the_drainer_is_restarted(site: Site, zygote: Zygote, upstash: UpstashFace) -> None:
    env = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
    message = {"type": "sdxl_image_fast", "prompt": "a lighthouse", "user_id": site.user, "config": {"num_inference_steps": 1}}
    with running(Up(site, zygote, site.root / "up", light=True, env=env)) as up:
        for number in (0, 1):
            upstash.valkey.call("LPUSH", "sdxl_queue", json.dumps({"id": str(UUID(int=number)), **message}).encode())
            wait_for(lambda number=number: site.db.rows("select 1 from public.jobs where id = %s", (UUID(int=number),)))
            up.status(str(UUID(int=number)), "completed")
            if number == 0:
                kill(up.children()["intake"])
        up.signal(signal.SIGTERM)
        assert up.left() == 0


# -- repeated crashes ---------------------------------------------------------------------------------------------------------------


def test_a_job_that_crashes_executors_is_quarantined(site: Site, zygote: Zygote) -> None:
    poison = site.submit(steps=1, seed=666)
    with running(Up(site, zygote, site.root / "up", light=True, crash_seed=666)) as up:
        others = [site.submit(steps=1) for _ in range(2)]
        up.status(poison, "failed")
        for job_id in others:
            up.status(job_id, "completed")
        assert site.row(poison)["error_class"] == "quarantined"
        assert up.said("was killed by SIGSEGV", 3)
        assert not up.said("is closed here")
        assert not up.said("given up")
        up.signal(signal.SIGTERM)
        assert up.left() == 0


@pytest.mark.parametrize("how", ["crash_lane", pytest.param("crash_loading", marks=pytest.mark.nightly)])
def test_a_model_that_crashes_executors_closes_its_lane(site: Site, zygote: Zygote, how: str) -> None:
    bad = [site.submit("image_fast", steps=1) for _ in range(3)]
    home = site.root / "up"
    with running(Up(site, zygote, home, light=True, **{how: "wan"})) as up:
        wait_for(lambda: up.said("lane wan is closed here: its model killed the process "), "for the lane to close")
        good = site.submit(steps=1)
        up.status(good, "completed")
        # On the device, one job is suspected first and quarantined; the next one's death shows that it is the model.
        assert sorted(site.row(job_id)["status"] for job_id in bad) == (["failed"] if how == "crash_lane" else ["queued"]) + ["queued"] * 2
        assert up.text.count("was killed by") == (4 if how == "crash_lane" else 3)
        told = wait_for(lambda: site.db.rows("select info, lanes from ourvidz.executors where state = 'active' and info ? 'closed'"))[0]
        assert told["info"]["closed"] == ["wan"]
        assert "wan" not in told["lanes"] and "wan_vace" in told["lanes"]
        up.signal(signal.SIGTERM)
        assert up.left() == 0
    with running(Up(site, zygote, home, light=True)) as up:  # fixed, but the lane is still marked closed
        first = up.executor("t-cpu")
        assert "wan" not in site.db.rows("select lanes from ourvidz.executors where state = 'active'")[0]["lanes"]
        up.signal(signal.SIGHUP)
        up.executor("t-cpu", first)
        for job_id in bad:
            up.status(job_id, "completed", "failed")
        assert not list(home.glob("executors/*.lanes.json"))


def test_a_process_that_never_starts_is_given_up(site: Site, zygote: Zygote) -> None:
    with running(Up(site, zygote, site.root / "up", "--split", light=True, no_start=["t-cpu-wan"])) as up:
        wait_for(lambda: up.said("t-cpu-wan: given up"), lambda: up.text)
        assert up.said("It last said: there is no such device")
        job_id = site.submit(steps=1)
        up.status(job_id, "completed")
        assert up.text.count("t-cpu-wan: process") == 3
        up.signal(signal.SIGTERM)
        assert up.left() == 0


def test_up_fails_when_all_processes_are_given_up(site: Site, zygote: Zygote) -> None:
    with running(Up(site, zygote, site.root / "up", "--split", light=True, no_start=["t-cpu-wan", "t-cpu-sdxl"])) as up:
        assert up.left() == 1
        assert up.said("Every executor was given up")


# -- shutdown -----------------------------------------------------------------------------------------------------------------------


def test_up_exits_when_idle(site: Site, zygote: Zygote) -> None:
    job_id = site.submit(steps=1)
    with running(Up(site, zygote, site.root / "up", "--idle-exit", "2s", light=True)) as up:
        assert up.left() == 0
        assert site.row(job_id)["status"] == "completed"
        assert up.said("Nothing to do for 2 s")


def test_sigterm_drains_all_processes(site: Site, zygote: Zygote) -> None:
    """Started as from a shell: each process is a separate program that `up` executes on its leash."""
    with running(Up(site, zygote, site.root / "up", light=True, forked=False)) as up:
        job_id = gated(up)
        up.holder(job_id)
        waiting = site.submit(steps=1)
        up.signal(signal.SIGTERM)
        wait_for(lambda: up.said("| Finishing"), "for it to hear")
        assert up.process.poll() is None
        up.open()
        assert up.left() == 0
        assert (site.row(job_id)["status"], site.row(waiting)["status"]) == ("completed", "queued")
        site.completed(job_id)


def test_a_second_signal_gives_jobs_back_and_a_third_kills(site: Site, zygote: Zygote) -> None:
    with running(Up(site, zygote, site.root / "up", light=True)) as up:
        job_id = gated(up)
        up.holder(job_id)
        up.signal(signal.SIGINT)
        wait_for(lambda: up.said("| Finishing"), "for it to hear")
        up.signal(signal.SIGINT)
        wait_for(lambda: up.said("| Giving the job"), "for it to hear")
        assert up.process.poll() is None  # its job waits at the gate and never reaches the next step
        up.signal(signal.SIGINT)
        assert up.left() == 0
        assert site.row(job_id)["status"] == "queued"
        assert [e["cause"] for e in site.data(job_id, "lease_expired")] == ["stopped"]
        assert not list(up.home.glob("executors/*.lanes.json"))  # our signal, not the model, was the cause


# -- with its own Postgres ----------------------------------------------------------------------------------------------------------


def test_any_process_of_the_tree_can_be_killed(site: Site, zygote: Zygote) -> None:
    from ourvidz.db.embedded import embedded_url, status

    home = site.root / "up"
    with running(Up(site, zygote, home, "--executors", "2", "--enhancer", "cpu", embedded=True)) as up:  # with the actual (tiny) models
        wait_for(lambda: up.said("serves sdxl", 2) and up.said("enhances prompts at"), "for all to be at work")
        own = Site(Database(embedded_url(home)), site.loaded, site.root)
        up.site = own
        for victim in ("postmaster_pid", "supervisor_pid", "t-cpu-0", "reaper", "deliverer", "enhancer"):
            job_id = gated(up)
            up.holder(job_id)
            pid = getattr(status(home), victim) if victim.endswith("_pid") else up.children()[victim]
            kill(pid)
            wait_for(lambda pid=pid: not alive(pid))
            up.open()
            wait_for(lambda: answers(home), lambda: up.text)
            up.status(job_id, "completed")
        everybody = {"t-cpu-0", "t-cpu-1", "enhancer", "reaper", "deliverer"}
        wait_for(lambda: set(up.children()) == everybody, lambda: up.text)
        up.signal(signal.SIGTERM)
        assert up.left() == 0
        own.db.close()


def answers(home: Path) -> bool:
    from ourvidz.db.embedded import embedded_url

    try:
        return Database(embedded_url(home)).rows("select 1 as yes")[0]["yes"] == 1
    except Exception as error:
        print(error)
        return False
