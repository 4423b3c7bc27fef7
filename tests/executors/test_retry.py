"""Retries: what a second attempt repeats and what it does not; and what fails a job permanently."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from executor_site import CountingStore, ProbeShelf, Site, Zygote

import ourvidz.storage.folder
from executors.models.base import Work
from executors.models.sdxl import Sdxl
from ourvidz.storage.base import StorageUnavailable
from state.catalog import BUCKETS, Bucket


def once(error: Exception) -> Callable[..., None]:
    left = [error]

    def trouble(*_: object) -> None:
        if left:
            raise left.pop()

    return trouble


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "video_fast"])
def test_a_failed_upload_is_retried_without_regenerating(site: Site, job_type: str) -> None:
    job_id = site.submit(job_type)
    site.store.trouble = once(StorageUnavailable("the store does not answer"))
    shelf = site.work(job_id)
    site.completed(job_id)
    assert [len(probe.works) for probe in (shelf.sdxl, shelf.wan) if probe.works] == [1]
    assert site.types(job_id).count("generation_started") == 1
    assert site.data(job_id, "retry_scheduled")[0]["class"] == "storage_unavailable"
    assert [d["resumed"] for d in site.data(job_id, "upload_started")] == [False, True]
    assert not (site.root / "second" / "spool" / job_id).exists()


def test_a_failed_second_upload_keeps_the_first(site: Site) -> None:
    job_id = site.submit(images=3)
    trouble = once(StorageUnavailable("the store does not answer"))
    site.store.trouble = lambda path: trouble() if path.endswith("1-1.png") else None
    site.work(job_id)
    site.completed(job_id, 3)
    assert sorted(site.store.puts) == sorted([*(a["path"] for a in site.artifacts(job_id)), site.artifacts(job_id)[1]["path"]])


def test_a_failed_generation_does_not_enhance_again_on_any_host(site: Site) -> None:
    job_id = site.submit("image7b_fast_enhanced")
    worker = site.worker("first", shelf=(shelf := ProbeShelf(site.loaded)))

    def broken(done: int, total: int) -> None:
        worker.draining = True  # so that another host makes the next attempt
        raise RuntimeError("cuda: an illegal memory access")

    shelf.wan.step = broken
    worker.run(until=[job_id])
    assert site.types(job_id)[-1] == "retry_scheduled"
    assert "illegal memory access" in site.said(job_id)
    other = site.work(job_id, home="other")
    site.completed(job_id)
    assert site.types(job_id).count("enhancement_started") == 1
    assert other.wan.works[0].prompt == shelf.wan.works[0].prompt


def test_after_the_last_attempt_a_person_decides(site: Site) -> None:
    job_id = site.submit()
    shelf = ProbeShelf(site.loaded, lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
    site.work(job_id, shelf=shelf)
    assert (site.row(job_id)["status"], site.row(job_id)["attempts"], site.row(job_id)["error_class"]) == ("failed", 3, "unexpected")
    site.jobs.retry(job_id)
    site.work(job_id)
    site.completed(job_id)


# -- bad output --------------------------------------------------------------------------------------------------------------------------


def nan_unless(good: Callable[[Work, int], bool]) -> Callable[..., Any]:
    """SDXL's denoiser with overflow (NaN) for some images."""
    denoise = Sdxl._denoise

    def spoiled(self: Sdxl, work: Work, seeds: tuple[int, ...], arguments: Any, report: Any) -> Any:
        latents = denoise(self, work, seeds, arguments, report)
        return latents if good(work, seeds[0]) else latents * float("nan")

    return spoiled


def test_bad_output_is_repeated_once_in_higher_precision(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sdxl, "_denoise", nan_unless(lambda work, seed: work.precise or seed == 4711))
    job_id = site.submit(images=3)
    shelf = site.work(job_id)
    site.completed(job_id, 3)
    assert [(work.precise, work.seeds) for work in shelf.sdxl.works] == [(False, (4711, 4712, 4713)), (True, (4712, 4713))]
    assert site.data(job_id, "generation_repeated") == [{"reason": "bad_output"}]
    assert site.row(job_id)["attempts"] == 1


def test_output_that_stays_bad_fails_the_job_as_bad_output(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sdxl, "_denoise", nan_unless(lambda work, seed: False))
    job_id = site.submit()
    shelf = site.work(job_id)
    assert [work.precise for work in shelf.sdxl.works] == [False, True]
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"], site.row(job_id)["attempts"]) == ("failed", "bad_output", 1)
    assert "NaN" in site.said(job_id)
    assert site.artifacts(job_id) == []
    site.intact(job_id)


def test_a_single_colour_is_bad_output(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = site.loaded._families["sdxl"]._pipe.vae  # type: ignore[attr-defined]
    monkeypatch.setattr(vae, "decode", lambda latent: SimpleNamespace(sample=torch.zeros(1, 3, 64, 64)))
    job_id = site.submit()
    site.work(job_id)
    assert site.row(job_id)["error_class"] == "bad_output"
    assert "single colour" in site.said(job_id)


# -- disks and buckets ---------------------------------------------------------------------------------------------------------------------


def test_a_full_spool_disk_fails_the_job_as_disk_full(site: Site, zygote: Zygote) -> None:
    """A file size limit stands in for a full disk: the kernel fails the write midway, as at ENOSPC."""
    job_id = site.submit()
    child = zygote.spawn(site.db.url, site.root / "first", site.root / "store", until=[job_id], file_limit=2048)
    assert child.wait() == 0
    assert [d["class"] for d in site.data(job_id, "retry_scheduled")] == ["disk_full"] * 2
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"]) == ("failed", "disk_full")
    assert "make room" in site.said(job_id)
    assert site.artifacts(job_id) == []
    assert [p.name for p in (site.root / "first" / "spool").rglob("*") if p.is_file()] == ["id"]
    site.jobs.retry(job_id)
    site.work(job_id, home="first")
    site.completed(job_id)


def test_a_full_store_disk_fails_the_job_as_disk_full(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(fd)
        if len(calls) == 1:
            return write(fd, data[:50])
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(ourvidz.storage.folder, "os", SimpleNamespace(**{**os.__dict__, "write": full}))
    job_id = site.submit()
    shelf = site.work(job_id)
    site.completed(job_id)
    assert site.data(job_id, "retry_scheduled")[0]["class"] == "storage_full"
    assert len(shelf.sdxl.works) == 1
    assert list((site.root / "store" / ".tmp").iterdir()) == []


def test_an_object_over_its_buckets_limit_fails_the_job_naming_the_bucket(site: Site) -> None:
    class Small(CountingStore):
        def __init__(self) -> None:
            super().__init__(site.root / "store")
            self._buckets["sdxl_image_fast"] = Bucket(500, BUCKETS["sdxl_image_fast"].media_types)

    job_id = site.submit()
    site.work(job_id, store=Small())
    assert (site.row(job_id)["status"], site.row(job_id)["error_class"], site.row(job_id)["attempts"]) == ("failed", "object_too_large", 1)
    assert "sdxl_image_fast" in site.said(job_id) and "500 bytes" in site.said(job_id)


def test_a_modified_spool_file_is_rejected(site: Site) -> None:
    job_id = site.submit()
    trouble = once(StorageUnavailable("later"))

    def spoil(path: str) -> None:
        spooled = next((site.root / "second" / "spool" / job_id).glob("image-*"))
        if not site.data(job_id, "retry_scheduled"):
            spooled.write_bytes(b"not what was recorded")
        trouble()

    site.store.trouble = spoil
    shelf = site.work(job_id)
    site.completed(job_id)
    assert shelf.sdxl.seeds == [4711, 4711]


def test_a_file_modified_during_upload_is_detected(site: Site) -> None:
    """Between the spool's own check and the copy. The stored bytes are compared with the recorded hash, and not recorded as uploaded."""
    job_id = site.submit()

    def spoil(path: str) -> None:
        site.store.trouble = lambda _: None
        next((site.root / "second" / "spool" / job_id).glob("image-*")).write_bytes(b"not what was recorded")

    site.store.trouble = spoil
    site.work(job_id)
    site.completed(job_id)
    assert [a["claim_no"] for a in site.artifacts(job_id)] == [2, 2]
