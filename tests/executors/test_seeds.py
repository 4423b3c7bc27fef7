"""The same seed gives the same image: alone, in a batch, and in every attempt."""

from __future__ import annotations

import numpy as np
from executor_site import SEED, Site


def test_a_seed_gives_the_same_image_alone_and_in_a_batch(site: Site) -> None:
    batch = site.submit(steps=3, images=6)
    alone = [site.submit(steps=3, seed=SEED + n) for n in range(6)]
    site.work(batch, *alone)
    together = site.pixels(batch)
    assert len(together) == 6
    for n, job_id in enumerate(alone):
        assert np.abs(together[n] - site.pixels(job_id)[0]).max() <= 1
    # Different seeds give different images.
    assert all(np.abs(together[0] - other).max() > 10 for other in together[1:])
    assert [a["seed"] for a in site.artifacts(batch) if a["kind"] == "image"] == [SEED + n for n in range(6)]


def test_seeds_wrap_around_to_zero(site: Site) -> None:
    job_id = site.submit(images=3, seed=2**32 - 2)
    site.work(job_id)
    assert [a["seed"] for a in site.artifacts(job_id) if a["kind"] == "image"] == [2**32 - 2, 2**32 - 1, 0]


def test_a_random_seed_is_kept_for_every_attempt(site: Site) -> None:
    from ourvidz.lifecycle import NewJob

    job_id = site.jobs.submit(NewJob(site.user, "sdxl_image_fast", "a lighthouse", settings={"steps": 1})).id
    drawn = site.db.rows("select settings from public.job_payloads where job_id = %s", (job_id,))[0]["settings"]["seed"]
    worker = site.worker()
    worker.shelf.sdxl.step = lambda *_: (_ for _ in ()).throw(RuntimeError("a bug"))  # type: ignore[attr-defined]
    worker.run(until=[job_id])
    assert set(worker.shelf.sdxl.seeds) == {drawn} and len(worker.shelf.sdxl.seeds) == 3  # type: ignore[attr-defined]
