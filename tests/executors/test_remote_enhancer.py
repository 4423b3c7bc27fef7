"""Prompts enhanced by the enhancer process: in parallel with the device, and under every failure of that process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from enhancer_site import SLOW, Served, nothing
from executor_site import PROMPT, Breaks, ProbeShelf, Site
from waiting import LIMIT, wait_for

from executors.enhancer.client import RemoteEnhancer
from ourvidz.safety.screen import Verdict

ENHANCED = "image7b_fast_enhanced"


def without_model(site: Site) -> ProbeShelf:
    """An executor whose own enhancer must not be used."""
    shelf = ProbeShelf(site.loaded)
    shelf._enhancer = Breaks()  # type: ignore[assignment]
    return shelf


def local_text(site: Site, prompt: str, style: str = "wan_image") -> str:
    return site.loaded.enhancer().enhance(prompt, style, deadline_s=60, should_stop=nothing).text


def enhanced_text(site: Site, job_id: str) -> str:
    return site.db.rows("select enhanced_prompt from public.job_payloads where job_id = %s", (job_id,))[0]["enhanced_prompt"]


@pytest.mark.parametrize(("job_type", "style"), [(ENHANCED, "wan_image"), ("video7b_fast_enhanced", "wan")])
def test_the_text_comes_from_the_enhancer_process(site: Site, an_enhancer: Callable[..., Served], job_type: str, style: str) -> None:
    job_id = site.submit(job_type)
    shelf = site.work(job_id, shelf=without_model(site), enhancer=RemoteEnhancer(an_enhancer().socket))
    site.intact(job_id)
    assert site.row(job_id)["status"] == "completed" and site.row(job_id)["enhanced"]
    assert enhanced_text(site, job_id) == shelf.wan.works[0].prompt == local_text(site, PROMPT, style)
    assert site.data(job_id, "enhancement_started") == [{"on_device": False}]


def test_prompts_are_enhanced_while_the_device_is_busy(site: Site, an_enhancer: Callable[..., Served]) -> None:
    seen: list[str] = []

    def step(done: int, total: int) -> None:
        if done == 3:  # of the first job: by then the next one is claimed
            wait_for(lambda: "prompt_enhanced" in site.types(second), "for the next job's prompt, with the device busy")
            seen.extend(site.types(first))

    first = site.submit("sdxl_image_fast", steps=6)
    shelf = ProbeShelf(site.loaded, step)
    shelf._enhancer = Breaks()  # type: ignore[assignment]
    second = site.submit(ENHANCED, steps=2)
    site.work(first, second, shelf=shelf, enhancer=RemoteEnhancer(an_enhancer().socket))
    site.completed(first)
    site.completed(second)
    assert seen[-1] == "generation_started"


def started(site: Site, server: Served, **more: Any) -> str:
    """Start a job and wait until that server is enhancing its prompt."""
    job_id = site.submit(ENHANCED, prompt=SLOW, **more.pop("settings", {}))
    site.start(site.worker(shelf=more.pop("shelf", None), enhancer=RemoteEnhancer(server.socket, **more)), job_id)
    server.wait("token")
    return job_id


def ended(site: Site, job_id: str) -> str:
    return wait_for(lambda: site.row(job_id)["completed_at"] and site.row(job_id)["status"], "for the job to end")


def test_after_an_enhancer_dies_the_executors_own_is_used(site: Site, an_enhancer: Callable[..., Served]) -> None:
    server = an_enhancer()
    job_id = started(site, server)
    server.signal(signal.SIGKILL)
    assert ended(site, job_id) == "completed"
    assert enhanced_text(site, job_id) == local_text(site, SLOW)
    assert site.types(job_id).count("enhancement_started") == 1
    site.intact(job_id)


def test_without_another_enhancer_the_prompt_is_used_as_written(site: Site, an_enhancer: Callable[..., Served]) -> None:
    server = an_enhancer()
    job_id = started(site, server, only=True)
    server.signal(signal.SIGKILL)
    assert ended(site, job_id) == "completed"
    assert [d["reason"] for d in site.data(job_id, "enhancement_skipped")] == ["enhancer_away"]
    assert enhanced_text(site, job_id) is None


@pytest.mark.parametrize("only", [True, False])
def test_a_missing_enhancer_is_replaced_or_skipped(
    site: Site, an_enhancer: Callable[..., Served], enhancer_folder: Any, only: bool
) -> None:
    job_id = site.submit(ENHANCED)
    site.work(job_id, enhancer=RemoteEnhancer(enhancer_folder / "nobody.sock", only=only))
    site.completed(job_id)
    skipped = [d["reason"] for d in site.data(job_id, "enhancement_skipped")]
    assert (skipped, site.row(job_id)["enhanced"]) == ((["enhancer_away"], False) if only else ([], True))


def test_a_job_set_to_require_enhancement_fails(site: Site, enhancer_folder: Any) -> None:
    job_id = site.submit(ENHANCED, on_enhance_failure="fail")
    shelf = site.work(job_id, enhancer=RemoteEnhancer(enhancer_folder / "nobody.sock", only=True))
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"]) == ("failed", "enhancement")
    assert shelf.wan.works == []


def test_a_cancel_is_honoured_within_a_token(site: Site, an_enhancer: Callable[..., Served]) -> None:
    server = an_enhancer()
    job_id = started(site, server)
    site.jobs.cancel(job_id)
    assert ended(site, job_id) == "cancelled"
    server.wait("let go")
    assert not site.row(job_id)["enhanced"]


def test_a_drain_gives_the_job_back(site: Site, an_enhancer: Callable[..., Served]) -> None:
    server = an_enhancer()
    job_id = site.submit(ENHANCED, prompt=SLOW)
    worker = site.worker(enhancer=RemoteEnhancer(server.socket))
    thread = site.start(worker, job_id)
    server.wait("token")
    worker.stop()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert (site.types(job_id)[-1], site.row(job_id)["attempts"]) == ("snoozed", 0)
    server.wait("let go")
    site.work(job_id, name="third", shelf=without_model(site), enhancer=RemoteEnhancer(server.socket))
    site.completed(job_id)


def test_the_enhancers_text_is_screened(site: Site, an_enhancer: Callable[..., Served]) -> None:
    class No:
        def check(self, text: str) -> Verdict:
            return Verdict(text == PROMPT, "test", None if text == PROMPT else "test")

    job_id = site.submit(ENHANCED)
    shelf = site.work(job_id, screen=No(), enhancer=RemoteEnhancer(an_enhancer().socket))
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"], site.row(job_id)["final"]) == ("failed", "refused_content", True)
    assert shelf.wan.works == [] and enhanced_text(site, job_id) is None
