"""Warm-up: the models that the queue needs first are loaded while the first job is being claimed; a failed load costs no job anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from executor_site import ProbeShelf, Site
from support import Permissive
from waiting import LIMIT, wait_for

from executors.context import JobRun
from executors.device import Device
from executors.errors import OutOfMemory
from executors.models.base import Family
from executors.shelf import Shelf
from executors.turn import Turn
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.progress import Progress


class Watched(ProbeShelf):
    """Records the requested lanes in order."""

    def __init__(self, loaded: Shelf, trouble: Exception | None = None) -> None:
        super().__init__(loaded)
        self.asked: list[str] = []
        self.first = threading.Event()
        self.trouble = trouble

    def family(self, lane: str) -> Family:
        self.asked.append(lane)
        try:
            if self.trouble is not None and len(self.asked) == 1:
                raise self.trouble
            return super().family(lane)
        finally:
            self.first.set()


class Slow(Jobs):
    """Claims nothing before `after` is set."""

    after: threading.Event

    def claim(self, executor_id: str, **more: Any) -> list[Claim]:
        assert self.after.wait(LIMIT), "nothing was loaded while the claim was under way"
        return super().claim(executor_id, **more)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.worker.FIRST_CLAIM", 0.05)


def slow(site: Site, after: threading.Event) -> Jobs:
    jobs = Slow(site.db, Permissive(), patience=20)
    jobs.after = after
    return jobs


def test_the_longest_waiting_lane_is_loaded_before_its_claim(site: Site) -> None:
    first, second = site.submit("image_fast"), site.submit()
    shelf = Watched(site.loaded)
    site.work(first, second, shelf=shelf, jobs=slow(site, shelf.first), warm=None)
    assert shelf.asked[0] == "wan"
    site.completed(first)
    site.completed(second)


def test_a_model_is_loaded_for_a_job_claimed_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a model that kills the process is attributed to its job."""
    monkeypatch.setattr("executors.worker.FIRST_CLAIM", 20)
    job_id = site.submit()
    shelf = Watched(site.loaded)
    worker = site.worker(shelf=shelf, warm=None)
    ask, holding = shelf.family, []

    def family(lane: str) -> Family:
        assert worker.heartbeat is not None
        holding.append([hold.claim.job_id for hold in worker.heartbeat.holds.values()])
        return ask(lane)

    shelf.family = family  # type: ignore[method-assign]
    worker.run(until=[job_id])
    assert holding[0] == [job_id]


def test_named_lanes_are_loaded_without_queued_jobs(site: Site) -> None:
    shelf = Watched(site.loaded)
    site.start(site.worker(shelf=shelf, warm=("wan", "sdxl")))
    wait_for(lambda: len(shelf.asked) >= 2)
    assert shelf.asked == ["wan", "sdxl"]


def test_an_empty_queue_loads_nothing(site: Site) -> None:
    shelf = Watched(site.loaded)
    site.worker(shelf=shelf, warm=None).run(idle_exit=0)
    assert shelf.asked == []


def test_a_ready_job_takes_precedence_over_warm_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = site.submit()
    shelf = Watched(site.loaded)
    ask, offered = shelf.family, threading.Event()
    offer = Device.offer

    def offering(device: Device, run: JobRun) -> Turn:
        turn = offer(device, run)
        offered.set()
        return turn

    def family(lane: str) -> Family:
        assert offered.wait(LIMIT)  # the first load lasts until the job claimed meanwhile waits for the device
        return ask(lane)

    monkeypatch.setattr(Device, "offer", offering)
    shelf.family = family  # type: ignore[method-assign]
    site.work(job_id, shelf=shelf, warm=("sdxl", "wan"))
    assert "wan" not in shelf.asked
    site.completed(job_id)


def test_a_lane_that_cannot_be_loaded_is_closed_before_a_job_is_claimed(site: Site, tiny_root: Path, tmp_path: Path) -> None:
    models = Path(shutil.copytree(tiny_root, tmp_path / "models"))
    shelf = Shelf(models)
    file = models / "sdxl-lustify/model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    site.submit()
    other = site.submit("image_fast")
    loaded = threading.Event()
    ask = shelf.spoiled

    def spoiled(lane: str) -> list[Path]:
        try:
            return ask(lane)
        finally:
            loaded.set()

    shelf.spoiled = spoiled  # type: ignore[method-assign]
    site.work(other, shelf=shelf, jobs=slow(site, loaded), warm=None)
    site.completed(other)
    assert shelf.lanes == ["wan", "wan_vace"]


@pytest.mark.parametrize("trouble", [OutOfMemory("full"), RuntimeError("a bug")], ids=lambda e: type(e).__name__)
def test_a_failed_warm_up_is_logged_and_costs_no_job(site: Site, trouble: Exception, caplog: pytest.LogCaptureFixture) -> None:
    job_id = site.submit()
    shelf = Watched(site.loaded, trouble)
    site.work(job_id, shelf=shelf, jobs=slow(site, shelf.first), warm=None)
    site.completed(job_id)
    assert f"Lane sdxl could not be warmed up: {type(trouble).__name__}" in caplog.text
    assert site.row(job_id)["attempts"] == 1


def test_waiting_lanes_are_in_the_order_of_claims(site: Site) -> None:
    asked: Sequence[str] = ["sdxl", "sdxl_ip", "wan", "wan_vace"]
    assert site.jobs.waiting_lanes(asked) == []
    site.submit("image_fast")
    site.submit()
    assert site.jobs.waiting_lanes(asked) == ["wan", "sdxl"]
    assert site.jobs.waiting_lanes(["sdxl"]) == ["sdxl"]


def test_unserved_jobs_are_not_waited_for_forever(site: Site) -> None:
    """The other job runs first; then it stops, and reports that it did not finish."""
    wan, sdxl = site.submit("image_fast"), site.submit()
    worker = site.worker(lanes=["sdxl"])
    worker.run(until=[wan, sdxl], patience=0)
    site.completed(sdxl)
    assert worker.unserved and site.row(wan)["status"] == "queued"
    served = site.worker(name="third")
    served.run(until=[wan], patience=0)
    site.completed(wan)
    assert not served.unserved


class Loads(Shelf):
    """Loads the models itself, and signals the first load."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.first = threading.Event()

    def family(self, lane: str) -> Family:
        try:
            return super().family(lane)
        finally:
            self.first.set()


def test_the_first_step_of_a_lane_that_is_warm_comes_sooner(site: Site, tiny_root: Path) -> None:
    """In CPU time of the device thread, from the claimed job's turn to its first step: a busy machine affects neither."""

    def first_step(warm: Sequence[str]) -> float:
        shelf, at = Loads(tiny_root), dict[str, float]()

        def observe(p: Progress) -> None:
            if p.stage == "loading" or (p.stage == "generating" and p.done == 1):
                at.setdefault(p.stage, time.thread_time())

        jobs = slow(site, shelf.first) if warm else None
        job_id = site.submit()
        site.work(job_id, shelf=shelf, jobs=jobs, warm=warm, observe=observe)
        site.completed(job_id)
        return at["generating"] - at["loading"]

    cold, warm = first_step(()), first_step(("sdxl",))
    assert warm < cold / 2


WATCHED_IMPORTS = """
import json, logging, sys, threading
from pathlib import Path

seen = []
class Record:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in ("torch", "diffusers", "transformers", "compel"):
            seen.append([root, threading.current_thread().name, threading.active_count()])

sys.meta_path.insert(0, Record())
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
url, models, home, *jobs = sys.argv[1:]
from executors.shelf import Shelf
from executors.worker import Worker
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from ourvidz.safety.lexical import LexicalScreen
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS
assert "torch" not in sys.modules
store = FolderStore(Path(home) / "store", BUCKETS)
Worker(Jobs(Database(url), LexicalScreen()), store, Shelf(Path(models)), Path(home), name="cold", warm=None).run(until=jobs)
print(json.dumps(seen))
"""


def test_one_thread_imports_the_model_libraries_and_the_queue_finds_them_warm(site: Site, tiny_root: Path) -> None:
    """Two threads that import diffusers at once raise ImportError: the warm-up failed at every start with a non-empty queue."""
    first, second = site.submit(), site.submit("image_fast")
    command = [sys.executable, "-c", WATCHED_IMPORTS, site.db.url, str(tiny_root), str(site.root / "cold"), first, second]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert {root for root, _, _ in seen} == {"torch", "diffusers", "transformers", "compel"}
    assert {thread for _, thread, _ in seen} == {"MainThread"}
    assert {alone for root, _, alone in seen if root == "torch"} == {1}  # before the claiming thread starts
    assert "could not be warmed up" not in ran.stderr and "Lane sdxl is warm" in ran.stderr
    assert [site.row(job)["status"] for job in (first, second)] == ["completed"] * 2
