"""A scene from its preview to its video: real executors, real (tiny) models, and a receiver that is notified of both."""

from __future__ import annotations

import numpy as np
import pytest
from executor_site import SEED, Site
from PIL import Image

from ourvidz.db import outbox, video_status
from ourvidz.lifecycle import NewJob


@pytest.mark.parametrize("preview_type", ["image_fast", "sdxl_image_fast"])
def test_the_video_starts_from_the_approved_image(site: Site, preview_type: str) -> None:
    outbox.receiver_set(site.db, "one", "https://example.com/hook")
    scene = site.db.rows("insert into public.videos (user_id) values (%s) returning id::text", (site.user,))[0]["id"]
    preview = site.jobs.submit(NewJob(site.user, preview_type, "a lighthouse at dusk", settings={"steps": 1}, video_id=scene)).id
    site.work(preview)
    (picture,) = site.pixels(preview)

    answer = video_status.approve(site.db, scene, "video_fast", {"sample_steps": 1, "seed": SEED}, charge=True)
    shelf = site.work(answer["job_id"])
    site.completed(answer["job_id"])
    (work,) = shelf.wan.works
    assert work.references.wan_mode == "start"
    # The same image: the model was given the content of the preview's file.
    assert work.references.first_frame is not None
    given = np.asarray(work.references.first_frame).astype(int)
    assert given.shape == picture.shape and np.abs(given - picture).max() == 0
    assert isinstance(work.references.first_frame, Image.Image)
    assert work.prompt == "a lighthouse at dusk"

    row = site.db.rows("select * from public.videos where id = %s", (scene,))[0]
    film, shown = (
        next(a for a in site.artifacts(job) if a["kind"] == kind) for job, kind in ((answer["job_id"], "video"), (preview, "image"))
    )
    assert row["status"] == "completed"
    assert (row["video_url"], row["preview_url"]) == (film["path"], shown["path"])
    for bucket, path in (("preview_bucket", "preview_url"), ("bucket", "video_url"), ("thumbnail_bucket", "thumbnail_url")):
        assert site.store.read(row["metadata"][bucket], row[path])
    assert row["duration"] == pytest.approx(film["frames"] / 16, abs=1e-4)
    assert row["resolution"] == f"{film['width']}x{film['height']}"

    bodies = [r["body"] for r in site.db.rows("select ourvidz.outbox_body(o) as body from ourvidz.outbox as o order by created_at")]
    assert [(b["job_id"], b["status"], b["assets"]) for b in bodies] == [
        (preview, "completed", [shown["path"]]),
        (answer["job_id"], "completed", [film["path"]]),
    ]
    assert all(b["metadata"]["generation_time"] > 0 for b in bodies)
