"""One run of the demo from nothing: its output matches the jobs and files that exist."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import pytest
from cli_command import Command, environment
from PIL import Image

from state.catalog import JOB_TYPES
from state.machine import EventType, transitions_from

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ALONE = {"sdxl_image_fast": 5, "image_fast": 2, "video_fast": 5}  # their other modes: batch, references


@pytest.fixture(scope="module")
def ourvidz(tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("demo")
    # The demo ignores any database and models configured in the environment.
    return Command(environment(folder / "home", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", OURVIDZ_MODELS="/nonexistent"), folder)


@pytest.fixture(scope="module")
def jobs(ourvidz: Command) -> list[dict[str, Any]]:
    answer = ourvidz("demo", "--json", timeout=880)
    assert answer.code == 0, answer.err
    assert set(answer.json) == {"jobs"}
    found: list[dict[str, Any]] = answer.json["jobs"]
    return found


def test_one_of_every_kind_completed(jobs: list[dict[str, Any]]) -> None:
    assert Counter(job["job_type"] for job in jobs) == {name: ALONE.get(name, 1) for name in JOB_TYPES}
    assert all(set(job) == {"id", "job_type", "status", "artifacts", "events"} for job in jobs)
    assert {job["status"] for job in jobs} == {"completed"}
    pictures = [sum(a["media_type"] == "image/png" for a in job["artifacts"]) for job in jobs if job["job_type"] == "sdxl_image_fast"]
    assert sorted(pictures) == [1, 1, 1, 1, 6]


def test_events_follow_the_table(jobs: list[dict[str, Any]]) -> None:
    for job in jobs:
        status = None
        for number, event in enumerate(job["events"], 1):
            assert set(event) == {"version", "type", "from_status", "to_status", "claim_no", "occurred_at"}
            assert (event["version"], event["from_status"]) == (number, status)
            assert event["to_status"] in {t.target for t in transitions_from(EventType(event["type"]), status)}
            datetime.fromisoformat(event["occurred_at"])
            status = event["to_status"]
        assert status == "completed"
        enhanced = {"enhancement_started", "prompt_enhanced"} & {e["type"] for e in job["events"]}
        assert bool(enhanced) == JOB_TYPES[job["job_type"]].enhance


def test_files_match_their_artifact_rows(jobs: list[dict[str, Any]]) -> None:
    for job in jobs:
        kind = JOB_TYPES[job["job_type"]]
        for a in job["artifacts"]:
            assert set(a) == {"bucket", "path", "file", "sha256", "media_type", "width", "height", "seed"}
            file = Path(a["file"])
            assert hashlib.sha256(file.read_bytes()).hexdigest() == a["sha256"]
            assert file.as_posix().endswith(f"/{a['bucket']}/{a['path']}")
            if a["media_type"] == "video/mp4":
                _is_video(a)
            else:
                with Image.open(file) as picture:
                    assert Image.MIME[str(picture.format)] == a["media_type"]
                    assert picture.size == (a["width"], a["height"])
        assert kind.media_type == job["artifacts"][0]["media_type"]
        assert job["artifacts"][-1]["media_type"] == "image/webp"


def _is_video(a: dict[str, Any]) -> None:
    with av.open(a["file"]) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 16)
        assert (stream.width, stream.height) == (a["width"], a["height"])
        assert sum(1 for _ in video.decode(stream)) == 81


def test_a_batch_has_its_seeds(jobs: list[dict[str, Any]]) -> None:
    (batch,) = [job for job in jobs if len(job["artifacts"]) == 12]
    seeds = [a["seed"] for a in batch["artifacts"] if a["media_type"] == "image/png"]
    assert seeds == [(seeds[0] + n) % 2**32 for n in range(6)]


def test_the_album(ourvidz: Command, jobs: list[dict[str, Any]]) -> None:
    album = ourvidz.cwd / "ourvidz-demo"
    with Image.open(album / "contact-sheet.png") as sheet:
        assert min(sheet.size) > 500
    outputs = sum(a["media_type"] != "image/webp" for job in jobs for a in job["artifacts"])
    assert len(list(album.iterdir())) == outputs + 1


def test_all_reference_modes_were_used(ourvidz: Command, jobs: list[dict[str, Any]]) -> None:
    """Wan's five modes and SDXL's three, according to the rows; other commands see the demo's jobs."""
    after = Command({k: v for k, v in ourvidz.env.items() if k not in ("DATABASE_URL", "OURVIDZ_MODELS")}, ourvidz.cwd)
    rows = [after("jobs", "show", job["id"], "--json").json for job in jobs if ALONE.get(job["job_type"])]
    modes = {(r["job_type"], *sorted(r["settings"].get("references", {}))) for r in rows if r["job_type"] != "sdxl_image_fast"}
    assert modes == {
        ("video_fast",), ("video_fast", "single"), ("video_fast", "first_frame"), ("video_fast", "last_frame"),
        ("video_fast", "first_frame", "last_frame"), ("image_fast",), ("image_fast", "single"),
    }  # fmt: skip
    assert {r["settings"].get("reference_type") for r in rows} == {None, "style", "composition", "character"}
    assert "reference_skipped" not in {e["type"] for job in jobs for e in job["events"]}
    audited = after("audit", "--json")
    assert (audited.code, audited.json["jobs"]) == (0, len(jobs))


def test_submit_and_wait_without_an_executor(ourvidz: Command, jobs: list[dict[str, Any]]) -> None:
    after = Command({k: v for k, v in ourvidz.env.items() if k not in ("DATABASE_URL", "OURVIDZ_MODELS")}, ourvidz.cwd)
    answer = after("submit", "sdxl_image_fast", "--prompt", "a fox in snow", "--images", "3", "--wait", timeout=300)
    assert answer.code == 0, answer.err
    assert "runs one until the job has ended" in answer.err
    assert [Path(line).suffix for line in answer.out.splitlines()] == [".png"] * 3
    assert all(Path(line).is_file() for line in answer.out.splitlines())
