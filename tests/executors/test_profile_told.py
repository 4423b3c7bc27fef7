"""Which speed profile made a picture can be read in the event, in the artifact's row, and in the file itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from site_of import ProbeShelf, Site

from executors import media
from executors.models.profiles import named


@pytest.mark.parametrize("profile", ["exact", "turbo-cache"])
@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "video_fast"])
def test_the_executors_profile_is_told_with_whatever_it_made(site: Site, tmp_path: Path, job_type: str, profile: str) -> None:
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
