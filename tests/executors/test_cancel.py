"""Cancel: at once for a queued job, within a step for a running one, and also after a crash."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from executor_site import ProbeShelf, Site, Zygote, cancel_learned, held, running
from waiting import wait_for


def test_a_queued_job_is_cancelled_at_once_and_never_claimed(site: Site) -> None:
    job_id, other = site.submit(), site.submit()
    assert site.jobs.cancel(job_id) == "cancelled"
    assert site.jobs.cancel(job_id) == "cancelled"
    site.work(other)
    assert site.types(job_id) == ["submitted", "cancelled"]
    site.intact(job_id)


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "image_fast", "video_fast"])
def test_a_running_job_stops_at_the_step_and_decodes_nothing(site: Site, job_type: str) -> None:
    job_id = site.submit(job_type, steps=10)
    worker = site.worker(shelf=(shelf := ProbeShelf(site.loaded)))
    probe = shelf.probes["sdxl" if job_type.startswith("sdxl") else "wan"]

    def third(done: int, total: int) -> None:
        if done == 3:
            cancel_learned(site, worker, job_id)

    probe.step = third
    worker.run(until=[job_id])
    assert (probe.steps, probe.outputs) == (3, 0)
    assert site.types(job_id)[-2:] == ["cancel_requested", "cancelled"]
    assert site.artifacts(job_id) == []
    site.intact(job_id)


WITHDRAW = "update public.profiles set age_verified = false where id = %s"


def test_withdrawing_age_verification_stops_the_job_at_the_step(site: Site) -> None:
    job_id = site.submit(steps=10)
    worker = site.worker(shelf=(shelf := ProbeShelf(site.loaded)))

    def third(done: int, total: int) -> None:
        if done == 3:
            hold = held(worker, job_id)
            site.db.rows(WITHDRAW, (site.user,))
            wait_for(lambda: hold.cancelled, "for the end to be learned")

    shelf.sdxl.step = third
    worker.run(until=[job_id])
    assert (shelf.sdxl.steps, shelf.sdxl.outputs, site.types(job_id)[-2:]) == (3, 0, ["cancel_requested", "cancelled"])
    site.intact(job_id)


def test_an_executor_not_told_of_the_withdrawal_publishes_nothing(site: Site) -> None:
    """The job was locked at that moment, so the executor was not told: its next step is refused, and it stops."""
    site.policy(heartbeat=30, control_poll=30)
    job_id = site.submit(steps=2)
    worker = site.worker(shelf=(shelf := ProbeShelf(site.loaded)))

    def first(done: int, total: int) -> None:
        if done == 1:
            with site.db.driver() as other, other.transaction():
                other.execute("select from public.jobs where id = %s for update", (job_id,))
                site.db.rows(WITHDRAW, (site.user,))

    shelf.sdxl.step = first
    worker.run(until=[job_id])
    assert site.types(job_id)[-2:] == ["cancel_requested", "cancelled"] and site.artifacts(job_id) == []
    site.intact(job_id)


def test_finished_images_of_a_cancelled_batch_stay_and_no_other_starts(site: Site) -> None:
    job_id = site.submit(steps=2, images=6)
    worker = site.worker(shelf=(shelf := ProbeShelf(site.loaded)))

    def in_second(done: int, total: int) -> None:
        if done == 3:
            cancel_learned(site, worker, job_id)

    shelf.sdxl.step = in_second
    worker.run(until=[job_id])
    assert (shelf.sdxl.steps, shelf.sdxl.outputs) == (3, 1)
    assert [(a["kind"], a["index"], a["uploaded_at"]) for a in site.artifacts(job_id)] == [("image", 0, None), ("thumbnail", 0, None)]


def learned_after(site: Site) -> float:
    """Seconds from the request until a running job's executor learns of it."""
    job_id = site.submit(steps=60, images=6)
    worker = site.worker(shelf=(shelf := ProbeShelf(site.loaded)))
    asked: list[float] = []

    def step(done: int, total: int) -> None:
        if done == 2:
            site.jobs.cancel(job_id)
            asked.append(time.monotonic())

    shelf.sdxl.step = step
    worker.run(until=[job_id])
    took = time.monotonic() - asked[0]
    assert site.row(job_id)["status"] == "cancelled"
    return took


def test_a_cancel_is_learned_within_two_seconds_by_polling(site: Site) -> None:
    site.policy(heartbeat=5, control_poll=1)  # the product's defaults
    assert learned_after(site) < 2


def test_a_cancel_is_learned_at_once_by_notify(site: Site, listening: None) -> None:
    site.policy(heartbeat=30, control_poll=30)  # polling would take far longer
    worker_ready = site.submit()
    site.work(worker_ready)
    took = learned_after(site)
    assert took < 4, took  # ending the LISTEN takes up to 1 s of it


def test_a_cancel_asked_before_a_crash_is_honoured_after_it(site: Site, zygote: Zygote) -> None:
    job_id = site.submit(steps=10)
    with running(zygote.spawn(site.db.url, site.root / "first", site.root / "store", stop_at_step=2)) as child:
        wait_for(child.stopped)
        assert site.jobs.cancel(job_id) == "cancel_requested"
        child.signal(signal.SIGKILL)
        child.wait()
    lost = site.row(job_id)["executor_id"]
    assert site.jobs.executor_gone(str(lost)) == 1
    assert site.types(job_id)[-2:] == ["cancel_requested", "cancelled"]
    assert site.jobs.claim(site.jobs.register("next", "host", 1, ["sdxl"])) == []
    site.intact(job_id)


@pytest.mark.parametrize("status", ["queued", "generating", "uploading"])
def test_a_job_can_be_cancelled_in_any_status(site: Site, status: str) -> None:
    """Requested between a status and the next step; the executor checks before it starts that step."""
    job_id = site.submit(images=3)
    worker = site.worker()
    jobs = worker.jobs

    def cancelling(name: str, event: str | None = None) -> None:
        verb: Callable[..., object] = getattr(jobs, name)

        def then_cancel(*args: object, **more: object) -> object:
            answer = verb(*args, **more)
            if event is None or event in args:
                setattr(jobs, name, verb)
                if worker.heartbeat and worker.heartbeat.holds:
                    cancel_learned(site, worker, job_id)
                else:
                    site.jobs.cancel(job_id)
            return answer

        setattr(jobs, name, then_cancel)

    {"queued": lambda: cancelling("claim"), "generating": lambda: cancelling("advance", "generation_started"),
     "uploading": lambda: cancelling("artifact_uploaded")}[status]()  # fmt: skip
    worker.run(until=[job_id])
    assert site.row(job_id)["status"] == "cancelled"
    assert site.types(job_id).count("artifact_uploaded") == (status == "uploading")
    site.intact(job_id)


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "image_fast"])
def test_the_job_after_a_cancel_is_unaffected(site: Site, job_type: str) -> None:
    clean = site.submit(job_type, steps=3)
    shelf = site.work(clean)
    disturbed = site.submit(job_type, steps=9, prompt="something else altogether")
    probe = shelf.probes["sdxl" if job_type.startswith("sdxl") else "wan"]
    worker = site.worker("third", shelf=shelf)

    def second(done: int, total: int) -> None:
        if done == 2:
            probe.step = None
            cancel_learned(site, worker, disturbed)

    probe.step = second
    following = site.submit(job_type, steps=3)
    worker.run(until=[disturbed, following])
    assert site.row(disturbed)["status"] == "cancelled"
    assert (site.pixels(following)[0] == site.pixels(clean)[0]).all()


def test_a_cancelled_job_that_is_retried_keeps_what_was_done(site: Site) -> None:
    job_id = site.submit(steps=2, images=3)
    worker = site.worker(shelf=(shelf := ProbeShelf(site.loaded)))

    def in_second(done: int, total: int) -> None:
        if done == 3:
            cancel_learned(site, worker, job_id)

    shelf.sdxl.step = in_second
    worker.run(until=[job_id])
    site.jobs.retry(job_id, version=site.row(job_id)["version"])
    shelf = site.work(job_id)
    assert shelf.sdxl.seeds == [4712, 4713]
    site.completed(job_id, 3)
