"""A rerouted job through a real executor: its outputs record both the requested job type and the one that made them."""

from __future__ import annotations

import io

from executor_site import SEED, Site
from PIL import Image


def test_a_rerouted_jobs_artifact_records_both_job_types(site: Site) -> None:
    job_id = site.submit("sdxl_image_high", width=1216, height=832)
    site.jobs.reroute(job_id)
    shelf = site.work(job_id, lanes=["wan"])
    site.completed(job_id)
    (work,) = shelf.wan.works
    assert (work.job_type, work.width, work.height, work.seeds, work.steps) == ("image_high", 832, 480, (SEED,), 1)
    assert shelf.sdxl.works == []
    (image,) = [a for a in site.artifacts(job_id) if a["kind"] == "image"]
    assert (image["bucket"], image["metadata"]["asked_for"], image["metadata"]["asked"]) == ("image_high", "sdxl_image_high", [1216, 832])
    assert image["metadata"]["model"]["family"] == "wan"
    text = Image.open(io.BytesIO(site.store.read(image["bucket"], image["path"]))).text  # type: ignore[attr-defined]
    assert (text["ourvidz:job_type"], text["ourvidz:asked_for"]) == ("image_high", "sdxl_image_high")


def test_a_job_that_was_not_rerouted_records_no_reroute(site: Site) -> None:
    job_id = site.submit()
    site.work(job_id)
    assert all("asked_for" not in a["metadata"] for a in site.artifacts(job_id))
