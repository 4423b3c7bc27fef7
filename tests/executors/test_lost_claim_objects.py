"""Objects left in storage by claims that lost their job are swept, and nothing else."""

from __future__ import annotations

from pathlib import Path

from executor_site import Site
from waiting import wait_for

from ourvidz.storage.base import object_path


def test_objects_of_a_lost_claim_are_swept_when_the_job_completes(site: Site, tmp_path: Path) -> None:
    job_id, other = site.submit("video_fast"), site.submit("video_fast")
    gone = site.jobs.register("gone", "host", 1, ["wan"])
    lost = next(c for c in site.jobs.claim(gone, limit=2) if c.job_id == job_id)
    noise = tmp_path / "noise"
    noise.write_bytes(b"never wanted")
    strays = [
        ("video_fast", object_path(lost.user_id, job_id, lost.claim_no, 0, "mp4"), "video/mp4"),
        ("video-thumbnails", object_path(lost.user_id, job_id, lost.claim_no, 0, "webp"), "image/webp"),
    ]
    foreign = ("video_fast", object_path(lost.user_id, other, 9, 0, "mp4"), "video/mp4")
    for bucket, path, media_type in (*strays, foreign):
        site.store.put(bucket, path, noise, media_type)
    site.jobs.executor_gone(gone)
    site.work(job_id)
    site.completed(job_id)
    assert [site.store.stat(bucket, path) for bucket, path, _ in strays] == [None, None]
    assert site.store.stat(*foreign[:2]) is not None  # another job's objects stay


def test_a_stale_claim_deletes_its_own_object(site: Site) -> None:
    job_id = site.submit()

    def taken(path: str) -> None:
        if path.endswith("1-0.png") and (row := site.row(job_id))["claim_no"] == 1 and row["executor_id"]:
            site.jobs.executor_gone(str(row["executor_id"]))
            heir = site.jobs.register("heir", "host", 1, ["sdxl"])
            (claim,) = site.jobs.claim(heir)
            site.jobs.advance(claim, "generation_started")  # and makes its own outputs, under its own claim number
            for artifact in site.artifacts(job_id):
                site.jobs.artifact_generated(claim, {**artifact, "path": artifact["path"].replace("/1-", "/2-"), "sha256": "0" * 64})

    site.store.trouble = taken
    worker = site.worker()
    working = site.start(worker)

    wait_for(lambda: site.row(job_id)["claim_no"] >= 2, "the heir")
    worker.stop()
    working.join()  # declared gone, it does not wait for the job's thread, which may still be storing its object
    wait_for(lambda: any(path.endswith("/1-0.png") for path in site.store.puts), "the stale claim to store its object")
    wait_for(lambda: site.store.list("sdxl_image_fast", f"{site.user}/{job_id}") == [], "the stale claim to delete it")
    assert [a["path"].rsplit("/", 1)[1] for a in site.artifacts(job_id)] == ["2-0.png", "2-0.webp"]  # the second claim's, untouched
