"""An executor signs everything it publishes, and publishes nothing that it cannot sign."""

from __future__ import annotations

from pathlib import Path

import pytest
from executor_site import PROMPT, SEED, Site
from waiting import wait_for

from executors import credentials
from executors.media import probe_mp4
from executors.provenance import Seal, read

NO_TIME = "http://127.0.0.1:1/"  # an unreachable timestamp authority


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "video_fast"])
def test_every_object_names_its_job_but_neither_prompt_nor_user(site: Site, tmp_path: Path, job_type: str) -> None:
    job_id = site.submit(job_type)
    site.work(job_id)
    site.completed(job_id)
    kinds = set()
    for artifact in site.artifacts(job_id):
        path = tmp_path / f"file.{artifact['path'].rpartition('.')[2]}"
        path.write_bytes(site.store.read(artifact["bucket"], artifact["path"]))
        said = read(path)
        assert (said["state"], said["ai_made"]) == ("valid", True)
        told = said["generation"]
        assert (told["job"], told["job_type"], told["seed"], told["kind"]) == (job_id, job_type, SEED, artifact["kind"])
        assert told["tiny"] is True and told["model"] and told["settings"]["steps"] == 1
        assert PROMPT.encode() not in path.read_bytes() and site.user.encode() not in path.read_bytes()
        own = credentials.development(tmp_path / "second")
        assert artifact["metadata"]["provenance"] == {"signed": True, "certificate": own.fingerprint, "development": True}
        kinds.add(artifact["media_type"])
        if artifact["kind"] == "video":
            facts = probe_mp4(path)
            assert (facts.frames, facts.fps, facts.faststart) == (81, 16, True)
    assert kinds == ({"video/mp4", "image/webp"} if job_type == "video_fast" else {"image/png", "image/webp"})


def test_an_output_that_cannot_be_signed_is_retried_and_not_published(site: Site, tmp_path: Path) -> None:
    site.no_second_try()
    job_id = site.submit()
    seal = Seal(credentials.development(tmp_path), tsa=NO_TIME)
    site.start(site.worker(seal=seal), job_id)
    wait_for(lambda: site.row(job_id)["errors"] == 1)
    assert site.data(job_id, "retry_scheduled")[0]["class"] == "provenance"
    assert site.artifacts(job_id) == [] and site.store.puts == []
    assert "could not be signed" in site.said(job_id)


def test_with_optional_signatures_unsigned_outputs_keep_plain_marks(site: Site, tmp_path: Path) -> None:
    job_id = site.submit()
    site.work(job_id, seal=Seal(credentials.development(tmp_path), required=False, tsa=NO_TIME))
    site.completed(job_id)
    assert [a["metadata"]["provenance"] for a in site.artifacts(job_id)] == [{"signed": False}] * 2
