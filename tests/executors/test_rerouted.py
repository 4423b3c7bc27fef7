"""A rerouted job through a real executor: what it makes says what was asked for, and what made it."""

from __future__ import annotations

import io

from PIL import Image
from site_of import SEED, Site


def test_an_artifact_of_a_rerouted_job_says_what_was_asked_for_and_what_made_it(site: Site) -> None:
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


def test_one_that_was_not_says_nothing_of_it(site: Site) -> None:
    job_id = site.submit()
    site.work(job_id)
    assert all("asked_for" not in a["metadata"] for a in site.artifacts(job_id))
