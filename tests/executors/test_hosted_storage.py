"""Real jobs by a real executor whose store is the Supabase Storage API."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from executor_site import Site
from storage_site import Face, Line, Trouble, said

from ourvidz.bootstrap import App
from ourvidz.config import Config
from ourvidz.db import queries
from ourvidz.storage.folder import FolderStore
from ourvidz.storage.supabase import HIDDEN, SupabaseStorage
from state.catalog import BUCKETS


@pytest.fixture
def line(standing_face: Face) -> Iterator[Line]:
    standing_face.clear(BUCKETS)
    with Line(standing_face.url) as line:
        yield line


def stored_as_recorded(site: Site, face: Face, job_id: str) -> int:
    """Every artifact is in its bucket, byte for byte, and nothing else; return the count."""
    store, artifacts = face.store(BUCKETS), queries.artifacts(site.db, [job_id])
    for a in artifacts:
        content = store.read(a["bucket"], a["path"])
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (a["sha256"], a["bytes"])
        with face.client() as client:
            assert client.head(f"/object/{a['bucket']}/{a['path']}").headers["content-type"] == a["media_type"]
    there = {(bucket, entry.path) for bucket in BUCKETS for folder in ("", HIDDEN) for entry in store._pages(bucket, folder)}
    assert there == {(a["bucket"], a["path"]) for a in artifacts}
    return len(artifacts)


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "video_fast"])
def test_a_job_ends_with_its_files_in_the_buckets(site: Site, standing_face: Face, line: Line, job_type: str) -> None:
    job_id = site.submit(job_type)
    site.work(job_id, store=standing_face.store(BUCKETS, line.url))
    site.completed(job_id, stores=(standing_face.store(BUCKETS),))
    assert stored_as_recorded(site, standing_face, job_id) == 2


def test_lost_answers_cost_no_attempt(site: Site, standing_face: Face, line: Line) -> None:
    line.trouble = [
        Trouble("GET", lost=True),
        Trouble("POST .*/object/sdxl", lost=True),
        Trouble("POST .*/move", lost=True),
        Trouble("POST .*/object/sdxl", at=10),
    ]
    job_id = site.submit()
    site.work(job_id, store=standing_face.store(BUCKETS, line.url))
    site.completed(job_id, stores=(standing_face.store(BUCKETS),))
    assert [trouble.times for trouble in line.trouble] == [0, 0, 0, 0]
    assert (site.row(job_id)["errors"], site.row(job_id)["claim_no"]) == (0, 1)
    assert stored_as_recorded(site, standing_face, job_id) == 2


def test_an_unavailable_store_costs_attempts_but_no_regeneration(site: Site, standing_face: Face, line: Line) -> None:
    line.trouble = [Trouble("POST .*/object/sdxl", times=4, answer=said("503 Service Unavailable"))]
    job_id = site.submit()
    shelf = site.work(job_id, store=standing_face.store(BUCKETS, line.url))
    site.completed(job_id, stores=(standing_face.store(BUCKETS),))
    assert site.row(job_id)["errors"] == 1 and shelf.sdxl.outputs == 1
    assert stored_as_recorded(site, standing_face, job_id) == 2


def test_the_environment_selects_the_store(site: Site, standing_face: Face) -> None:
    names = {"SUPABASE_URL": standing_face.url, "SUPABASE_SERVICE_KEY": standing_face.secret.service}
    both = Config.model_validate({name.lower(): value for name, value in names.items()} | {"ourvidz_home": site.root})
    store = App(both).store
    assert isinstance(store, SupabaseStorage) and store.buckets() == BUCKETS
    assert standing_face.secret.service not in repr(both) + repr(store)
    for name in names:
        assert isinstance(App(both.model_copy(update={name.lower(): None})).store, FolderStore)
