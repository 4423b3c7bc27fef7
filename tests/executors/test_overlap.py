"""Stages overlap: while the device is at one job, those before it are encoded and uploaded, and the next is prepared. Each test stages
who waits for whom; without the overlap it would wait in vain."""

from __future__ import annotations

import gc
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from site_of import CountingStore, ProbeShelf, Site, Zygote, cancel_learned, running, wait_for
from support import Permissive
from test_refusals import keep, picture
from test_retry import nan_unless
from wire import Wire

from executors.models.base import Family, OnStep, Output, Work
from executors.models.sdxl import Sdxl
from executors.shelf import Shelf
from executors.spool import Spool
from executors.worker import HUNG, IN_FLIGHT, Worker
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from ourvidz.storage.base import StorageUnavailable


def at_step(shelf: ProbeShelf, job_id: str, step: int, do: Callable[[], object]) -> None:
    """Calls `do` on the device's thread, in that step of that job."""
    probe, before = shelf.sdxl, shelf.sdxl.step

    def stepped(done: int, total: int) -> None:
        if before is not None:
            before(done, total)
        if done == step and probe.works[-1].job_id == job_id:
            do()

    probe.step = stepped


def in_put(site: Site, job_id: str, do: Callable[[], object]) -> None:
    """Calls `do` in the first upload of that job."""
    before, done = site.store.trouble, []

    def trouble(path: str) -> None:
        before(path)
        if job_id in path and not done:
            done.append(path)
            do()

    site.store.trouble = trouble


def soon(event: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        assert event.wait(20), "waited in vain for the other stage"

    return wait


def rounds(worker: Worker, count: int = 4) -> None:
    """Until the thread that claims has thought about it so often again."""
    think, thought = worker._has_room, []

    def counted(room: Any) -> bool:
        thought.append(1)
        return think(room)

    worker._has_room = counted  # type: ignore[method-assign]
    wait_for(lambda: len(thought) >= count)


def claimed(site: Site, *job_ids: str) -> list[str]:
    return [job_id for job_id in job_ids if "claimed" in site.types(job_id)]


# -- what overlaps -------------------------------------------------------------------------------------------------------------------------


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


def test_the_first_picture_is_recorded_while_the_second_is_made(site: Site) -> None:
    job_id = site.submit(steps=2, images=3)
    shelf = ProbeShelf(site.loaded)
    at_step(shelf, job_id, 3, lambda: wait_for(lambda: len(site.artifacts(job_id)) == 2))
    site.work(job_id, shelf=shelf)
    site.completed(job_id, 3)


# -- how much ------------------------------------------------------------------------------------------------------------------------------


class Kept:
    """A family whose outputs are counted as long as anyone keeps them."""

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


def test_a_store_that_does_not_answer_stops_the_claims_and_not_the_memory(site: Site) -> None:
    ids = [site.submit() for _ in range(IN_FLIGHT + 3)]
    answers = threading.Event()
    site.store.trouble = lambda _: soon(answers)()
    shelf = ProbeShelf(site.loaded)
    shelf._families["sdxl"] = family = Kept(shelf.sdxl)  # type: ignore[assignment]
    worker = site.worker(shelf=shelf)
    working = site.start(worker, *ids)
    wait_for(lambda: [site.row(i)["status"] for i in ids].count("uploading") == IN_FLIGHT)
    rounds(worker)
    assert len(claimed(site, *ids)) == IN_FLIGHT
    assert len(family.outputs) == IN_FLIGHT and family.kept == 0  # they are on disk by now
    answers.set()
    working.join(20)
    for job_id in ids:
        site.completed(job_id)
        assert site.types(job_id).count("claimed") == 1


def test_one_job_is_prepared_ahead_and_no_more(site: Site) -> None:
    ids = [site.submit(steps=3) for _ in range(4)]
    shelf = ProbeShelf(site.loaded)
    worker = site.worker(shelf=shelf)

    def look() -> None:
        wait_for(lambda: len(claimed(site, *ids)) == 2)
        rounds(worker)
        assert len(claimed(site, *ids)) == 2

    at_step(shelf, ids[0], 2, look)
    worker.run(until=ids)
    for job_id in ids:
        site.completed(job_id)


def test_none_is_taken_before_the_device_will_soon_want_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another executor may be free sooner."""
    monkeypatch.setattr("executors.device.SOON", -1.0)  # a job's last step is not yet its end
    first, second = site.submit(steps=3), site.submit()
    shelf = ProbeShelf(site.loaded)
    worker = site.worker(shelf=shelf)
    at_step(shelf, first, 3, lambda: (rounds(worker), claimed(site, second) and pytest.fail("taken")))
    worker.run(until=[first, second])
    site.completed(first)
    site.completed(second)


def test_the_job_claimed_ahead_is_one_for_the_models_that_are_there_by_then(site: Site) -> None:
    first, other, second = site.submit(steps=3), site.submit("image_fast"), site.submit()
    worker = site.worker(shelf=Shelf(site.loaded.paths.root))  # of its own, with nothing loaded
    worker.run(until=[first, other, second])
    (order,) = site.db.rows("select array_agg(job_id::text order by seq) as ids from public.job_events where type = 'claimed'")
    assert order["ids"] == [first, second, other]


def test_who_works_for_certain_jobs_begins_no_other_meanwhile(site: Site) -> None:
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


def test_an_executor_that_idles_leaves_when_all_is_uploaded(site: Site) -> None:
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
        wait_for(lambda: site.row(second)["status"] == "cancelled", about="while the first is still on the device")
        wait_for(lambda: claimed(site, third), about="for the next to be prepared in its place")

    at_step(shelf, first, 2, cancel)
    site.work(first, second, third, shelf=shelf)
    site.completed(first)
    site.completed(third)
    assert site.types(second) == ["submitted", "claimed", "cancel_requested", "cancelled"]
    assert [work.job_id for work in shelf.sdxl.works] == [first, third]
    site.intact(second)


def test_a_cancel_on_the_device_leaves_those_around_it_alone(site: Site) -> None:
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


def test_a_cancel_during_an_upload_leaves_the_job_on_the_device_alone(site: Site) -> None:
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


# -- leaving -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_a_drain_finishes_what_was_begun_and_gives_back_what_was_only_prepared(site: Site, twice: bool) -> None:
    uploading, on_device, prepared = (site.submit(steps=3) for _ in range(3))
    shelf, told = ProbeShelf(site.loaded), threading.Event()
    worker = site.worker(shelf=shelf)
    in_put(site, uploading, soon(told))

    def drain() -> None:
        wait_for(lambda: claimed(site, prepared))
        worker.stop()
        if twice:
            worker.stop()
        wait_for(lambda: site.types(prepared)[-1] == "snoozed", about="while the device is still at another")
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


# -- what goes wrong -----------------------------------------------------------------------------------------------------------------------


def test_an_upload_that_fails_does_not_touch_the_job_on_the_device_and_generates_nothing_again(site: Site) -> None:
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
    site.policy(heartbeat=60, control_poll=60)  # it need not learn from the database what happens in its own house
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


def test_what_an_error_held_on_the_device_is_free_before_the_next_job(site: Site) -> None:
    """Its job's thread may be long at telling the database."""
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
    site.completed(first) if site.row(first)["completed_at"] else wait_for(lambda: site.row(first)["status"] == "completed")
    assert [work.job_id for work in shelf.sdxl.works] == [first]
    worker.stop()
    working.join(20)
    site.work(second, home="sound")
    site.completed(second)


def test_a_lost_answer_to_a_claim_ahead_costs_the_job_on_the_device_nothing(site: Site) -> None:
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


# -- what hangs ----------------------------------------------------------------------------------------------------------------------------


def test_an_upload_that_hangs_loses_its_own_claim_and_nothing_else(site: Site) -> None:
    first, second = site.submit(steps=2), site.submit(steps=2)
    shelf, released = ProbeShelf(site.loaded), threading.Event()
    hung: list[threading.Thread] = []
    in_put(site, first, lambda: (hung.append(threading.current_thread()), released.wait(60)))
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
    hung[0].join(20)
    assert (site.row(first), site.types(first), site.artifacts(first)) == before


def test_an_executor_with_no_place_left_that_does_not_hang_loses_its_lease(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.worker.IN_FLIGHT", 1)
    site.policy(load_stall=0.4, lease=1.5)
    job_id, released = site.submit(), threading.Event()
    in_put(site, job_id, lambda: released.wait(60))
    stuck = site.worker("stuck")
    site.start(stuck)
    wait_for(lambda: "retry_scheduled" in site.types(job_id))
    heartbeat = stuck.heartbeat
    assert heartbeat is not None
    wait_for(lambda: heartbeat.stalled and heartbeat.late, about="for the lease to run out")
    site.work(job_id, home="other")
    site.completed(job_id)
    released.set()


def test_a_process_whose_device_hangs_ends_itself_when_the_lease_is_lost(site: Site, zygote: Zygote) -> None:
    site.policy(lease=2.0, step_stall=0.5)
    job_id = site.submit(steps=5)
    with running(zygote.spawn(site.db.url, site.root / "hung", site.root / "store", hang_at_step=2, own_process=True)) as child:
        assert child.wait() == HUNG, (site.root / "hung" / "log-first").read_text()
    site.work(job_id, home="other")
    site.completed(job_id)
    assert site.data(job_id, "lease_expired")[0]["on_device"] is True
    assert "The device hangs" in (site.root / "hung" / "log-first").read_text()


@pytest.mark.parametrize("job_type", ["image7b_fast_enhanced", "sdxl_image_fast"])
def test_a_database_that_is_waited_for_is_no_device_that_hangs(site: Site, monkeypatch: pytest.MonkeyPatch, job_type: str) -> None:
    """What the device's thread itself tells, between two stages: that a prompt is enhanced, or that an output was bad."""
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
def test_a_crash_is_held_against_the_job_on_the_device_and_not_against_those_around_it(site: Site, zygote: Zygote, hold: str) -> None:
    behind, on_device, ahead = site.submit(steps=2), site.submit(steps=50), site.submit(steps=2)
    # The first stays at its encoder, or its upload; the third is claimed in a step of the second, and there the process is killed.
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
