"""Errors, hangs and crashes in one stage, and the jobs in the others: each job ends on its own."""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from cuttable_proxy import Wire
from executor_site import ProbeShelf, Site, Zygote, running
from staging import at_step, claimed, in_put
from support import Permissive
from test_retry import nan_unless
from waiting import LIMIT, wait_for

from executors.models.sdxl import Sdxl
from executors.spool import Spool
from executors.worker import HUNG
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from ourvidz.storage.base import StorageUnavailable

# -- errors --------------------------------------------------------------------------------------------------------------------------------


def test_a_failed_upload_does_not_affect_the_device_or_regenerate(site: Site) -> None:
    first, second = site.submit(steps=2), site.submit(steps=2)
    shelf, failed = ProbeShelf(site.loaded), threading.Event()

    def fail() -> None:
        raise StorageUnavailable("the store does not answer")

    in_put(site, first, fail)
    at_step(shelf, second, 1, lambda: wait_for(lambda: "retry_scheduled" in site.types(first)) and failed.set())
    site.work(first, second, shelf=shelf)
    assert failed.is_set()
    site.completed(first)
    site.completed(second)
    assert site.types(second).count("claimed") == 1 and site.types(first).count("claimed") == 2
    assert sorted(work.job_id for work in shelf.sdxl.works) == sorted([first, second])


def test_a_job_whose_encoder_fails_stops_on_the_device_at_the_next_step(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.policy(heartbeat=60, control_poll=60)  # it must not need the database to learn of its own encoder
    job_id = site.submit(steps=3, images=3)
    shelf = ProbeShelf(site.loaded)
    encode, broken = Spool.write, []

    def write(self: Spool, *args: Any) -> tuple[Path, str]:
        if not broken:
            broken.append(1)
            raise OSError("the encoder broke")
        return encode(self, *args)

    monkeypatch.setattr(Spool, "write", write)
    at_step(shelf, job_id, 4, lambda: wait_for(lambda: broken and "retry_scheduled" in site.types(job_id)))
    site.work(job_id, shelf=shelf)
    site.completed(job_id, 3)
    assert shelf.sdxl.steps == 4 + 9 and "the encoder broke" in site.said(job_id)


def test_memory_held_by_an_error_is_freed_before_the_next_job(site: Site) -> None:
    """Its job's thread may take long to tell the database."""
    job_id = site.submit(steps=2)
    shelf, worker_jobs = ProbeShelf(site.loaded), Jobs(site.db, Permissive())
    tensors: list[weakref.ref[torch.Tensor]] = []
    left: list[bool] = []

    def fail(*args: Any, **more: Any) -> str:
        gc.collect()
        left.append(any(ref() is not None for ref in tensors))
        return Jobs.fail(worker_jobs, *args, **more)

    def breaks() -> None:
        latents = torch.zeros(8)
        tensors.append(weakref.ref(latents))
        try:
            raise RuntimeError("no memory")
        except RuntimeError as error:
            raise ValueError("broken") from error

    worker_jobs.fail = fail  # type: ignore[method-assign]
    at_step(shelf, job_id, 1, lambda: breaks() if not tensors else None)
    site.work(job_id, shelf=shelf, jobs=worker_jobs)
    site.completed(job_id)
    assert len(tensors) == 1 and left == [False]


def test_a_lane_that_closes_gives_back_the_job_prepared_for_it(site: Site) -> None:
    first, second = site.submit(steps=3), site.submit(steps=3)
    shelf = ProbeShelf(site.loaded)

    def close() -> None:
        wait_for(lambda: claimed(site, second))
        shelf._closed.add("sdxl")

    at_step(shelf, first, 2, close)
    worker = site.worker(shelf=shelf)
    working = site.start(worker)
    wait_for(lambda: "snoozed" in site.types(second))
    wait_for(lambda: "completed" in site.types(first))
    site.completed(first)
    assert [work.job_id for work in shelf.sdxl.works] == [first]
    worker.stop()
    working.join(LIMIT)
    site.work(second, home="sound")
    site.completed(second)


def test_a_lost_answer_to_a_claim_ahead_does_not_affect_the_device(site: Site) -> None:
    first, second = site.submit(steps=3), site.submit(steps=3)
    shelf = ProbeShelf(site.loaded)
    with Wire(site.db.url) as wire:
        database = Database(wire.url)

        def lose() -> None:
            wire.lose("ourvidz.claim(", answer=True)

        at_step(shelf, first, 1, lose)
        at_step(shelf, first, 3, lambda: wait_for(lambda: wire.lost))
        site.work(first, second, shelf=shelf, jobs=Jobs(database, Permissive(), patience=20))
        database.close()
    site.completed(first)
    site.completed(second)
    assert site.types(first).count("claimed") == 1 and site.row(first)["crashes"] == 0
    assert [d["cause"] for d in site.data(second, "lease_expired")] == ["lost answer"]


# -- hangs ---------------------------------------------------------------------------------------------------------------------------------


def test_a_hung_upload_loses_only_its_own_claim(site: Site) -> None:
    first, second = site.submit(steps=2), site.submit(steps=2)
    shelf, released = ProbeShelf(site.loaded), threading.Event()
    hung: list[threading.Thread] = []
    in_put(site, first, lambda: (hung.append(threading.current_thread()), released.wait(LIMIT)))
    at_step(shelf, second, 1, lambda: wait_for(lambda: "retry_scheduled" in site.types(first)))
    site.policy(load_stall=0.6)
    worker = site.worker(shelf=shelf)
    worker.run(until=[first, second])
    site.completed(first)
    site.completed(second)
    assert site.data(first, "retry_scheduled")[0]["class"] == "stalled"
    assert site.types(second).count("claimed") == 1
    assert len(shelf.sdxl.works) == 2  # it was in the spool
    assert len(site.db.rows("select id from ourvidz.executors")) == 1
    before = site.row(first), site.types(first), site.artifacts(first)
    released.set()
    hung[0].join(LIMIT)
    assert (site.row(first), site.types(first), site.artifacts(first)) == before


def test_an_executor_with_only_hung_jobs_loses_its_lease(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.worker.IN_FLIGHT", 1)
    site.policy(load_stall=0.4, lease=1.5)
    job_id, released = site.submit(), threading.Event()
    in_put(site, job_id, lambda: released.wait(LIMIT))
    stuck = site.worker("stuck")
    site.start(stuck)
    wait_for(lambda: "retry_scheduled" in site.types(job_id))
    heartbeat = stuck.heartbeat
    assert heartbeat is not None
    wait_for(lambda: heartbeat.stalled and heartbeat.late, "for the lease to run out")
    site.work(job_id, home="other")
    site.completed(job_id)
    released.set()


def test_a_process_with_a_hung_device_exits_when_the_lease_is_lost(site: Site, zygote: Zygote) -> None:
    site.policy(lease=2.0, step_stall=0.5)
    job_id = site.submit(steps=5)
    with running(zygote.spawn(site.db.url, site.root / "hung", site.root / "store", hang_at_step=2, own_process=True)) as child:
        assert child.wait() == HUNG, (site.root / "hung" / "log-first").read_text()
    site.work(job_id, home="other")
    site.completed(job_id)
    assert site.data(job_id, "lease_expired")[0]["on_device"] is True
    assert "The device hangs" in (site.root / "hung" / "log-first").read_text()


@pytest.mark.parametrize("job_type", ["image7b_fast_enhanced", "sdxl_image_fast"])
def test_waiting_for_the_database_is_not_a_device_hang(site: Site, monkeypatch: pytest.MonkeyPatch, job_type: str) -> None:
    """Writes made by the device thread itself, between two stages: a prompt was enhanced, or an output was bad."""
    job_id, waited = site.submit(job_type), []
    monkeypatch.setattr(Sdxl, "_denoise", nan_unless(lambda work, seed: work.precise))
    site.policy(step_stall=0.3)
    worker = site.worker()
    tell = {"image7b_fast_enhanced": "enhanced", "sdxl_image_fast": "advance"}[job_type]
    verb = getattr(worker.jobs, tell)

    def late(*args: Any, **more: Any) -> Any:
        if tell == "enhanced" or "generation_repeated" in args:
            threading.Event().wait(0.5)
            waited.append(worker.heartbeat is not None and worker.heartbeat.stalled)
        return verb(*args, **more)

    setattr(worker.jobs, tell, late)
    worker.run(until=[job_id])
    site.completed(job_id)
    assert waited == [False]


# -- crashes -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hold", ["spool", "put"])
def test_a_crash_counts_only_against_the_job_on_the_device(site: Site, zygote: Zygote, hold: str) -> None:
    behind, on_device, ahead = site.submit(steps=2), site.submit(steps=50), site.submit(steps=2)
    # The first job blocks at its encoder or upload; the third is claimed during a step of the second, and there the process is killed.
    child = zygote.spawn(site.db.url, site.root / "first", site.root / "store", hold=[hold, behind], die=("after", "claim", 3))
    assert child.wait() == -signal.SIGKILL, (site.root / "first" / "log-first").read_text()
    assert [site.row(i)["status"] for i in (behind, on_device, ahead)] == [
        {"spool": "generating", "put": "uploading"}[hold], "generating", "queued",
    ]  # fmt: skip
    (executor,) = site.db.rows("select id from ourvidz.executors")
    assert site.jobs.executor_gone(str(executor["id"])) == 3

    for job_id, blamed in ((behind, False), (on_device, True), (ahead, False)):
        row = site.row(job_id)
        assert (row["crashes"], row["device_crashes"], row["crashed_on"]) == (1, int(blamed), "first" if blamed else None)
    shelf = site.work(behind, on_device, ahead, home="first")
    for job_id in (behind, on_device, ahead):
        site.completed(job_id)
    assert (behind in {work.job_id for work in shelf.sdxl.works}) == (hold == "spool")
