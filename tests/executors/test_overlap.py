"""Overlapping stages: while the device runs one job, earlier ones are encoded and uploaded, and the next is prepared. Each test makes one
stage wait for another; without overlap it would time out."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from executor_site import CountingStore, ProbeShelf, Site, cancel_learned
from staging import at_step, claimed, in_put, rounds, soon
from test_refusals import keep, picture
from waiting import LIMIT, wait_for

from executors.models.base import Family, OnStep, Output, Work
from executors.shelf import Shelf
from executors.spool import Spool
from executors.worker import IN_FLIGHT
from ourvidz.lifecycle import Jobs

# -- which stages overlap ------------------------------------------------------------------------------------------------------------------


def test_the_next_job_is_on_the_device_while_one_is_uploaded(site: Site) -> None:
    first, second = site.submit(steps=2), site.submit(steps=2)
    shelf, on_device = ProbeShelf(site.loaded), threading.Event()
    in_put(site, first, soon(on_device))
    at_step(shelf, second, 1, on_device.set)
    site.work(first, second, shelf=shelf)
    site.completed(first)
    site.completed(second)


def test_the_next_job_is_on_the_device_while_one_is_encoded(site: Site) -> None:
    first, second = site.submit(steps=2), site.submit(steps=2)
    shelf, on_device = ProbeShelf(site.loaded), threading.Event()

    class Slow(Spool):
        def write(self, job_id: str, name: str, fill: Callable[[Path], object]) -> tuple[Path, str]:
            if job_id == first:
                soon(on_device)()
            return super().write(job_id, name, fill)

    worker = site.worker(shelf=shelf)
    worker.spool = Slow(site.root / "second" / "spool", 10**9)
    at_step(shelf, second, 1, on_device.set)
    worker.run(until=[first, second])
    site.completed(first)
    site.completed(second)


def test_the_next_job_is_prepared_while_one_is_on_the_device(site: Site) -> None:
    address = keep(site, "style.png", picture())
    fetched, seen = threading.Event(), []

    class Told(CountingStore):
        def open(self, bucket: str, path: str) -> Any:
            seen.append(path)
            fetched.set()
            return super().open(bucket, path)

    first, second = site.submit(steps=3), site.submit(steps=3, references={"style": address}, reference_type="style")
    shelf = ProbeShelf(site.loaded)
    at_step(shelf, first, 3, soon(fetched))
    site.work(first, second, shelf=shelf, store=Told(site.root / "store"))
    site.completed(first)
    site.completed(second)
    assert seen == [address.partition("/")[2]]


def test_the_first_image_is_recorded_while_the_second_is_generated(site: Site) -> None:
    job_id = site.submit(steps=2, images=3)
    shelf = ProbeShelf(site.loaded)
    at_step(shelf, job_id, 3, lambda: wait_for(lambda: len(site.artifacts(job_id)) >= 2))
    site.work(job_id, shelf=shelf)
    site.completed(job_id, 3)


# -- limits --------------------------------------------------------------------------------------------------------------------------------


class Kept:
    """A family that counts its outputs still referenced."""

    def __init__(self, family: Family) -> None:
        self.family, self.name = family, family.name
        self.outputs: list[weakref.ref[Output]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.family, name)

    def generate(self, work: Work, on_step: OnStep) -> Iterator[Output]:
        for output in self.family.generate(work, on_step):
            self.outputs.append(weakref.ref(output))
            yield output
            del output

    @property
    def kept(self) -> int:
        gc.collect()
        return sum(ref() is not None for ref in self.outputs)


def test_a_hung_store_stops_claims_and_does_not_fill_memory(site: Site) -> None:
    ids = [site.submit() for _ in range(IN_FLIGHT + 3)]
    answers = threading.Event()
    site.store.trouble = lambda _: soon(answers)()
    shelf = ProbeShelf(site.loaded)
    shelf._families["sdxl"] = family = Kept(shelf.sdxl)  # type: ignore[assignment]
    worker = site.worker(shelf=shelf)
    working = site.start(worker, *ids)
    wait_for(lambda: [site.row(i)["status"] for i in ids].count("uploading") >= IN_FLIGHT)
    rounds(worker)
    assert len(claimed(site, *ids)) == IN_FLIGHT
    assert len(family.outputs) == IN_FLIGHT and family.kept == 0  # they are on disk by now
    answers.set()
    working.join(LIMIT)
    for job_id in ids:
        site.completed(job_id)
        assert site.types(job_id).count("claimed") == 1


def test_at_most_one_job_is_prepared_ahead(site: Site) -> None:
    ids = [site.submit(steps=3) for _ in range(4)]
    shelf = ProbeShelf(site.loaded)
    worker = site.worker(shelf=shelf)

    def look() -> None:
        wait_for(lambda: len(claimed(site, *ids)) >= 2)
        rounds(worker)
        assert len(claimed(site, *ids)) == 2

    at_step(shelf, ids[0], 2, look)
    worker.run(until=ids)
    for job_id in ids:
        site.completed(job_id)


def test_no_job_is_claimed_before_the_device_is_nearly_free(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another executor may be free sooner."""
    monkeypatch.setattr("executors.device.SOON", -1.0)  # makes a job's last step not yet its end
    first, second = site.submit(steps=3), site.submit()
    shelf = ProbeShelf(site.loaded)
    worker = site.worker(shelf=shelf)
    at_step(shelf, first, 3, lambda: (rounds(worker), claimed(site, second) and pytest.fail("taken")))
    worker.run(until=[first, second])
    site.completed(first)
    site.completed(second)


def test_the_job_claimed_ahead_suits_the_loaded_models(site: Site) -> None:
    first, other, second = site.submit(steps=3), site.submit("image_fast"), site.submit()
    worker = site.worker(shelf=Shelf(site.loaded.paths.root))  # its own, with nothing loaded
    worker.run(until=[first, other, second])
    (order,) = site.db.rows("select array_agg(job_id::text order by seq) as ids from public.job_events where type = 'claimed'")
    assert order["ids"] == [first, second, other]


def test_a_worker_limited_to_certain_jobs_starts_no_other(site: Site) -> None:
    first, other = site.submit(steps=3), site.submit()
    shelf = ProbeShelf(site.loaded)
    worker = site.worker(shelf=shelf)
    asked: list[int] = []

    def count(ids: Any) -> tuple[int, int]:
        asked.append(1)
        return Jobs.unended(worker.jobs, ids)

    worker.jobs.unended = count  # type: ignore[method-assign]
    at_step(shelf, first, 2, lambda: wait_for(lambda: len(asked) > 6))
    worker.run(until=[first])
    site.completed(first)
    assert site.types(other) == ["submitted"]


def test_an_idle_executor_exits_after_its_uploads(site: Site) -> None:
    job_id = site.submit()
    worker = site.worker()
    in_put(site, job_id, lambda: rounds(worker))
    worker.run(idle_exit=0.01)
    site.completed(job_id)


# -- cancels -------------------------------------------------------------------------------------------------------------------------------


def test_a_prepared_job_that_is_cancelled_never_reaches_the_device(site: Site) -> None:
    first, second, third = (site.submit(steps=3) for _ in range(3))
    shelf = ProbeShelf(site.loaded)

    def cancel() -> None:
        wait_for(lambda: claimed(site, second))
        site.jobs.cancel(second)
        wait_for(lambda: "cancelled" in site.types(second), "while the first is still on the device")
        wait_for(lambda: claimed(site, third), "for the next to be prepared in its place")

    at_step(shelf, first, 2, cancel)
    site.work(first, second, third, shelf=shelf)
    site.completed(first)
    site.completed(third)
    assert site.types(second) == ["submitted", "claimed", "cancel_requested", "cancelled"]
    assert [work.job_id for work in shelf.sdxl.works] == [first, third]
    site.intact(second)


def test_a_cancel_on_the_device_does_not_affect_other_stages(site: Site) -> None:
    first, second, third = (site.submit(steps=3) for _ in range(3))
    shelf, uploaded = ProbeShelf(site.loaded), threading.Event()
    worker = site.worker(shelf=shelf)
    in_put(site, first, soon(uploaded))

    def cancel() -> None:
        wait_for(lambda: claimed(site, third))
        cancel_learned(site, worker, second)
        uploaded.set()

    at_step(shelf, second, 2, cancel)
    worker.run(until=[first, second, third])
    assert site.row(second)["status"] == "cancelled" and site.artifacts(second) == []
    for job_id in (first, third):
        site.completed(job_id)
        assert site.types(job_id).count("claimed") == 1


def test_a_cancel_during_an_upload_does_not_affect_the_device(site: Site) -> None:
    first, second = site.submit(steps=2), site.submit(steps=2)
    shelf = ProbeShelf(site.loaded)
    worker = site.worker(shelf=shelf)
    on_device, cancelled = threading.Event(), threading.Event()

    def cancel() -> None:
        soon(on_device)()
        cancel_learned(site, worker, first)
        cancelled.set()

    in_put(site, first, cancel)
    at_step(shelf, second, 1, lambda: (on_device.set(), soon(cancelled)()))
    worker.run(until=[first, second])
    assert site.row(first)["status"] == "cancelled" and site.types(first).count("artifact_uploaded") == 1
    site.completed(second)
    assert site.types(second).count("claimed") == 1


# -- draining ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_a_drain_finishes_started_jobs_and_gives_back_prepared_ones(site: Site, twice: bool) -> None:
    uploading, on_device, prepared = (site.submit(steps=3) for _ in range(3))
    shelf, told = ProbeShelf(site.loaded), threading.Event()
    worker = site.worker(shelf=shelf)
    in_put(site, uploading, soon(told))

    def drain() -> None:
        wait_for(lambda: claimed(site, prepared))
        worker.stop()
        if twice:
            worker.stop()
        wait_for(lambda: "snoozed" in site.types(prepared), "while the device is still at another")
        told.set()

    at_step(shelf, on_device, 2, drain)
    worker.run()
    given_back = [uploading, on_device, prepared] if twice else [prepared]
    for job_id in (uploading, on_device, prepared):
        row = site.row(job_id)
        if job_id in given_back:
            assert (row["status"], row["executor_id"], row["attempts"], row["snoozes"]) == ("queued", None, 0, 1)
        else:
            site.completed(job_id)
    assert [r["state"] for r in site.db.rows("select state from ourvidz.executors")] == ["gone"]
    again = site.work(uploading, on_device, prepared)
    for job_id in (uploading, on_device, prepared):
        site.completed(job_id)
    assert uploading not in {work.job_id for work in again.sdxl.works}  # it was in the spool
