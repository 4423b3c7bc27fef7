"""A user is erased while a real executor runs their job: neither text nor objects remain."""

from __future__ import annotations

import threading

import pytest
from executor_site import ProbeShelf, Site, held
from staging import in_put
from waiting import LIMIT, wait_for

from ourvidz.db import safety
from ourvidz.erasure import Eraser
from state.catalog import BUCKETS

WORD = "periwinkle"


def left(site: Site) -> tuple[list[str], str]:
    """The user's objects and texts that remain."""
    words = site.db.rows("select p.*, a.path from public.job_payloads as p left join public.artifacts as a using (job_id)")
    return [path for bucket in BUCKETS for path in site.store.list(bucket, site.user)], str(words)


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "image7b_fast_enhanced"])
def test_a_job_on_the_device_stops_and_leaves_nothing(site: Site, job_type: str) -> None:
    job_id = site.submit(job_type, prompt=f"a {WORD} at dusk", steps=3)
    shelf = ProbeShelf(site.loaded)
    worker = site.worker(shelf=shelf)
    done: list[object] = []

    def erase() -> None:
        done.append(Eraser(site.jobs, site.store, worker.spool.root).erase(site.user, by="test", timeout_s=60))

    thread = threading.Thread(target=erase)

    def begin() -> None:
        hold = held(worker, job_id)
        thread.start()
        wait_for(lambda: hold.cancelled, "for the executor to learn that the job is cancelled")

    probe = shelf.sdxl if job_type.startswith("sdxl") else shelf.wan
    probe.step = lambda step, total: begin() if step == 1 else None
    worker.run(until=[job_id])
    thread.join(LIMIT)
    assert done and site.row(job_id)["status"] == "cancelled"
    objects, words = left(site)
    assert objects == [] and WORD not in words and not list(worker.spool.root.glob(f"{job_id}*"))
    site.intact(job_id)


def test_an_executor_that_lost_its_job_deletes_its_late_uploads(site: Site) -> None:
    job_id = site.submit(prompt=f"a {WORD} at dusk")
    worker = site.worker()

    def gone_and_erased() -> None:
        assert worker.heartbeat is not None
        site.jobs.executor_gone(worker.heartbeat.executor_id)
        Eraser(site.jobs, site.store, worker.spool.root).erase(site.user, by="test", timeout_s=60)

    in_put(site, job_id, gone_and_erased)
    worker.run(until=[job_id], idle_exit=1.0)
    wait_for(lambda: not left(site)[0], "for the late object to be taken back")
    assert site.store.puts and WORD not in left(site)[1]
    assert site.row(job_id)["status"] == "cancelled" and site.jobs.artifacts(job_id) == []
    assert safety.job_ids(site.db, site.user) == [job_id]
    site.intact(job_id)
