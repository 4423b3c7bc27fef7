"""The speed profile that made an image is recorded in the event, in the artifact's row, and in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from executor_site import ProbeShelf, Site

from executors import media
from executors.models.profiles import named


@pytest.mark.parametrize("profile", ["exact", "turbo-cache"])
@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "video_fast"])
def test_the_profile_is_recorded_with_each_output(site: Site, tmp_path: Path, job_type: str, profile: str) -> None:
    shelf = ProbeShelf(site.loaded)
    shelf.profile = named(profile)
    job_id = site.submit(job_type)
    site.work(job_id, shelf=shelf)
    site.completed(job_id)
    assert [told["profile"] for told in site.data(job_id, "generation_started")] == [profile]
    assert [a["metadata"]["profile"] for a in site.artifacts(job_id)] == [profile, profile]
    made = next(a for a in site.artifacts(job_id) if a["kind"] != "thumbnail")
    file = tmp_path / "made"
    file.write_bytes(site.store.read(made["bucket"], made["path"]))
    written = media.probe_mp4(file).tags if made["kind"] == "video" else media.probe_png(file.read_bytes()).text
    assert written["ourvidz:profile"] == profile
