"""Jobs of different users in one pass: each has its own events, seeds and cancel, and ends on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from executor_site import SEED, ProbeShelf, Site, cancel_learned
from support import new_user
from trained_guard import STANDIN, taught
from waiting import wait_for

from executors.device import Device
from executors.models.base import ModelPaths
from executors.models.profiles import DEFAULT, EXACT
from executors.models.sdxl import Sdxl
from executors.shelf import Shelf
from executors.turn import Turn
from ourvidz.lifecycle import NewJob

STEPS = 4


@pytest.fixture(scope="module")
def three(tiny_root: Path) -> Iterator[Sdxl]:
    """SDXL with up to three images per pass."""
    model = Sdxl(ModelPaths(tiny_root), torch.device("cpu"), at_once=3)
    model.load()
    yield model
    model.unload()


class Gathering:
    """An executor whose device waits until all jobs are prepared, so that its first turn includes them all."""

    def __init__(self, site: Site, model: Sdxl, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shelf = ProbeShelf(site.loaded)
        self.shelf.__dict__["at_once"] = model.at_once
        self.shelf.sdxl.family = model
        self.step: Callable[[str, int], object] = lambda job_id, done: None
        self.passes: list[list[str]] = []
        self.worker = site.worker(shelf=self.shelf)
        self._generate = model.generate_together
        monkeypatch.setattr(self.shelf.sdxl, "generate_together", self._pass)
        self._offered: list[str] = []
        offer = Device.offer
        monkeypatch.setattr(Device, "offer", lambda device, run: (offer(device, run), self._offered.append(run.claim.job_id))[0])

    def _pass(self, works: Any, steps: Any) -> Any:
        self.passes.append([work.job_id for work in works])

        def watched(work: Any, on_step: Any) -> Any:
            def step(done: int, total: int) -> None:
                self.step(work.job_id, done)
                on_step(done, total)

            return step

        return self._generate(works, [watched(work, step) for work, step in zip(works, steps, strict=True)])

    def run(self, *ids: str) -> None:
        following = Device.next

        def gathered(device: Device, timeout: float) -> Turn | None:
            wait_for(lambda: set(ids) <= set(self._offered), "for all to be prepared")
            return following(device, timeout)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Device, "next", gathered)
            self.worker.run(until=ids)


def submit(site: Site, prompt: str, job_type: str = "sdxl_image_high", **settings: Any) -> str:
    """Submit as a new user each time."""
    job = NewJob(new_user(site.db, "premium"), job_type, prompt, settings={"steps": STEPS, "seed": SEED, **settings})
    return site.jobs.submit(job).id


def near(one: np.ndarray, other: np.ndarray) -> bool:
    return int(np.abs(one - other).max()) <= 1


@pytest.fixture
def jobs(site: Site) -> list[str]:
    return [submit(site, text) for text in ("a red cat", "two dogs by the sea", "a green hill")]


@pytest.fixture
def gathering(site: Site, three: Sdxl, monkeypatch: pytest.MonkeyPatch) -> Gathering:
    return Gathering(site, three, monkeypatch)


def test_prepared_jobs_of_one_shape_share_a_pass_and_each_gets_its_own_picture(site: Site, jobs: list[str], gathering: Gathering) -> None:
    gathering.run(*jobs)
    assert [sorted(ids) for ids in gathering.passes] == [sorted(jobs)]
    for job_id in jobs:
        site.completed(job_id)
    started = site.db.rows("select xid from public.job_events where type = 'generation_started' and job_id = any (%s::uuid[])", (jobs,))
    assert len(started) == 3
    assert len({row["xid"] for row in started}) == 1, "not begun in one commit"
    pixels = [site.pixels(job_id)[0] for job_id in jobs]
    again = [submit(site, prompt) for prompt in ("a red cat", "two dogs by the sea", "a green hill")]
    site.work(*again)  # one by one
    for shared, alone in zip(pixels, again, strict=True):
        assert near(shared, site.pixels(alone)[0])
    assert not near(pixels[0], pixels[1])


@pytest.mark.parametrize("step", [1, 3])
def test_a_cancel_ends_one_job_within_a_step_and_the_others_go_on(site: Site, jobs: list[str], gathering: Gathering, step: int) -> None:
    quitter = jobs[1]
    after: list[tuple[int, str]] = []

    def cancel(job_id: str, done: int) -> None:
        if job_id == quitter and done == step:
            cancel_learned(site, gathering.worker, quitter)
        if job_id == jobs[2] and done == step + 1:
            # It ended by the next step of the pass, without waiting for the others.
            wait_for(lambda: "cancelled" in site.types(quitter), "for the cancelled job to end")
            after.append((done, job_id))

    gathering.step = cancel
    gathering.run(*jobs)
    assert after == [(step + 1, jobs[2])]
    site.intact(quitter)
    assert site.row(quitter)["status"] == "cancelled"
    assert site.artifacts(quitter) == []
    for job_id in (jobs[0], jobs[2]):
        site.completed(job_id)
    assert len(gathering.passes) == 1


def test_a_failed_pass_is_repeated_one_by_one_and_only_the_culprit_fails(
    site: Site, jobs: list[str], three: Sdxl, gathering: Gathering, monkeypatch: pytest.MonkeyPatch
) -> None:
    culprit = jobs[1]
    generate = Sdxl.generate

    def alone(self: Sdxl, work: Any, on_step: Any) -> Any:
        if work.job_id == culprit:
            raise RuntimeError("a bug that this prompt brings out")
        return generate(self, work, on_step)

    monkeypatch.setattr(Sdxl, "generate", alone)
    site.policy(max_attempts=1)

    def fail(job_id: str, done: int) -> None:
        if done == 2:
            three._pipe.unet.forward = broken

    real = three._pipe.unet.forward

    def broken(*_: Any, **__: Any) -> None:
        three._pipe.unet.forward = real
        raise RuntimeError("a bug that this prompt brings out")

    gathering.step = fail
    gathering.run(*jobs)
    assert [site.row(job_id)["status"] for job_id in jobs] == ["completed", "failed", "completed"]
    for job_id in (jobs[0], jobs[2]):
        site.completed(job_id)
        assert site.types(job_id).count("generation_started") == 1


def test_a_bad_image_is_repeated_in_higher_precision_without_delaying_others(
    site: Site, jobs: list[str], gathering: Gathering, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoise = Sdxl._denoise

    def spoil(self: Sdxl, work: Any, seeds: Any, *more: Any) -> Any:
        latents = denoise(self, work, seeds, *more)
        if len(seeds) == 3:
            latents[1] = float("nan")
        return latents

    monkeypatch.setattr(Sdxl, "_denoise", spoil)
    gathering.run(*jobs)
    for job_id in jobs:
        site.completed(job_id)
    spoiled = gathering.passes[0][1]
    assert [site.types(job_id).count("generation_repeated") for job_id in jobs] == [int(job_id == spoiled) for job_id in jobs]


def test_a_job_of_another_shape_runs_outside_the_pass(site: Site, jobs: list[str], gathering: Gathering) -> None:
    mates = jobs[:2]
    site.jobs.cancel(jobs[2])
    portrait = submit(site, "a portrait", width=832, height=1216)
    gathering.run(*mates, portrait)
    assert [sorted(ids) for ids in gathering.passes] == [sorted(mates)]
    for job_id in (*mates, portrait):
        site.completed(job_id)


def test_a_job_suspected_of_a_crash_runs_alone(site: Site, jobs: list[str], gathering: Gathering) -> None:
    """A crash in a pass counts against all jobs in it: run alone, the culprit is found."""
    dead = site.jobs.register("dead", "host", 1, ["sdxl"], {})
    claims = {claim.job_id: claim for _ in jobs for claim in site.jobs.claim(dead, lanes=["sdxl"], resident=[])}
    assert set(site.jobs.advance_many([claims[job_id] for job_id in jobs[:2]], "generation_started")) == set(jobs[:2])
    site.jobs.snooze(claims[jobs[2]], "drain")
    site.jobs.executor_gone(dead, "killed")
    assert [told["on_device"] for job_id in jobs for told in site.data(job_id, "lease_expired")] == [True, True]
    gathering.run(*jobs)
    assert gathering.passes == []  # all of them have been claimed before
    for job_id in jobs:
        site.completed(job_id)


def test_at_once_defaults_to_one_on_a_cpu_and_for_exact(tiny_root: Path) -> None:
    assert Shelf(tiny_root).at_once == 1
    assert Shelf(tiny_root, DEFAULT, 3).at_once == 3
    assert Shelf(tiny_root, EXACT, 3).at_once == 1


def test_the_guard_checks_every_job_of_a_shared_pass(
    site: Site, gathering: Gathering, taught_qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProbeShelf, "guarded", True)
    gathering.shelf._enhancer = taught(taught_qwen)  # type: ignore[assignment]
    good, bad = submit(site, "two lanterns beside the old bridge"), submit(site, f"two lanterns beside the {STANDIN} bridge")
    gathering.run(good, bad)
    site.completed(good)
    assert (site.row(bad)["status"], site.row(bad)["error_class"]) == ("failed", "refused_content")
    assert not any(bad in ids for ids in gathering.passes) and site.data(bad, "generation_started") == []
