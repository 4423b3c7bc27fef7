"""Consent withdrawn while the job is with an executor: no model sees the image, and nothing made from it is published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from executor_site import ProbeShelf, Site
from PIL import Image

from executors.models.base import Family
from executors.shelf import Shelf
from state.catalog import REFERENCE_BUCKET


class Interrupted(ProbeShelf):
    """Runs `meanwhile` while a lane's models are loaded, which takes minutes with real ones."""

    def __init__(self, loaded: Shelf, meanwhile: Callable[[], object]) -> None:
        super().__init__(loaded)
        self.meanwhile = meanwhile

    def family(self, lane: str) -> Family:
        self.meanwhile()
        return super().family(lane)


@pytest.fixture
def picture(site: Site) -> str:
    file = site.root / "reference.png"
    Image.new("RGB", (96, 96), (10, 20, 200)).save(file)
    site.store.put(REFERENCE_BUCKET, f"{site.user}/a.png", file, "image/png")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def submitted(site: Site) -> str:
    return site.submit("sdxl_img2img", references={"init": f"{REFERENCE_BUCKET}/{site.user}/a.png"}, strength=0.5, steps=4)


def withdraw(site: Site, sha256: str) -> None:
    site.db.rows("select ourvidz.withdraw(%s, %s)", (site.user, sha256))


def no_consent(site: Site, job_id: str) -> None:
    row = site.row(job_id)
    assert (row["status"], row["error_class"]) == ("failed", "no_consent"), site.said(job_id)
    assert "withdrawn" in site.said(job_id)
    site.intact(job_id)


def test_consent_withdrawn_while_models_load(site: Site, picture: str) -> None:
    job_id = submitted(site)
    shelf = Interrupted(site.loaded, lambda: withdraw(site, picture))
    site.work(job_id, shelf=shelf)
    no_consent(site, job_id)
    assert shelf.sdxl.works == [] and "generation_started" not in site.types(job_id)


def test_consent_withdrawn_during_generation(site: Site, picture: str) -> None:
    job_id = submitted(site)
    site.work(job_id, shelf=ProbeShelf(site.loaded, lambda done, total: withdraw(site, picture)))
    no_consent(site, job_id)
    assert site.store.list("sdxl_img2img", f"{site.user}/{job_id}") == []


def test_after_a_new_attestation_the_job_can_be_retried(site: Site, picture: str) -> None:
    job_id = submitted(site)
    site.work(job_id, shelf=ProbeShelf(site.loaded, lambda done, total: withdraw(site, picture)))
    no_consent(site, job_id)
    site.attest((site.root / "store" / REFERENCE_BUCKET / site.user / "a.png").read_bytes())
    site.jobs.retry(job_id)
    site.work(job_id)
    site.completed(job_id)
