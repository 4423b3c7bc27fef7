"""The deployed contract end to end with real services: a job requested over HTTP or Redis can be seen and downloaded by its user."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from deployment import Deployment, FrontEnd, deployed, message
from PIL import Image
from stack_fixtures import Project
from waiting import wait_for

from ourvidz.audit import audit, rebuild
from ourvidz.db import ledger

PROMPT = "a lighthouse at dusk"


@pytest.fixture(scope="module")
def site(project: Project, tmp_path_factory: pytest.TempPathFactory, tiny_root: Path) -> Iterator[Deployment]:
    with deployed(project, tmp_path_factory.mktemp("home"), tiny_root) as found:
        yield found


@pytest.fixture
def user(site: Deployment) -> Iterator[FrontEnd]:
    with site.front_end() as found:
        yield found


def shown(site: Deployment, user: FrontEnd, job_id: str, kind: str = "image") -> list[bytes]:
    """A completed job's outputs as its user's browser gets them: each exists, is complete, decodes, and is inaccessible to others."""
    told = user.status(job_id)
    row = user.one(f"jobs?id=eq.{job_id}")
    assert (row["status"], told["status"], told["word"]) == ("completed", "completed", "completed") and row["completed_at"]
    artifacts = {(a["bucket"], a["path"]): a for a in user.get(f"artifacts?job_id=eq.{job_id}&order=kind,index")}
    assert {(a["bucket"], a["path"]) for a in told["assets"]} == artifacts.keys()
    assert told["progress"]["uploaded"] == told["progress"]["total"] == sum(a["kind"] == kind for a in artifacts.values())
    with site.front_end() as other, httpx.Client() as nobody:
        for (bucket, path), recorded in artifacts.items():
            answer = user.download(bucket, path)
            assert answer.status_code == 200 and answer.headers["content-type"] == recorded["media_type"]
            assert hashlib.sha256(answer.content).hexdigest() == recorded["sha256"]
            assert path.startswith(f"{user.user.id}/{job_id}/")
            assert other.download(bucket, path).status_code in (400, 403, 404)
            assert nobody.get(f"{site.project.url}/storage/v1/object/public/{bucket}/{path}").status_code in (400, 403, 404)
            decoded(answer.content, recorded)
        assert other.get(f"jobs?id=eq.{job_id}") == other.get(f"artifacts?job_id=eq.{job_id}") == []
    return [user.download(*place).content for place, a in artifacts.items() if a["kind"] == kind]


def decoded(content: bytes, recorded: dict[str, Any]) -> None:
    if recorded["kind"] == "video":
        import av  # comes with the extra `models`

        with av.open(io.BytesIO(content)) as clip:
            frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
        assert (len(frames), frames[0].shape[:2]) == (recorded["frames"], (recorded["height"], recorded["width"]))
    else:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            assert picture.size == (recorded["width"], recorded["height"])


def paid(user: FrontEnd, job_id: str, price: int, before: int) -> None:
    """As the user sees it: the report states the captured amount, and the balance is lower by it."""
    report = user.get(f"usage_logs?job_id=eq.{job_id}&order=created_at")
    assert [r["action"] for r in report] == ["job_queued", "job_completed" if price else "job_failed"]
    assert sum(r["tokens_consumed"] for r in report) == price == before - user.tokens


def test_a_queue_job_call_becomes_an_image(site: Deployment, user: FrontEnd) -> None:
    before = user.tokens
    told = user.queue("sdxl_image_fast", prompt=PROMPT, num_images=3, steps=2, seed=7)
    job_id = told["job"]["id"]
    assert (told["price"], told["balance"], told["queue"]) == (3, before - 3, "sdxl_queue")
    user.wait(job_id)
    pictures = shown(site, user, job_id)
    assert len(set(pictures)) == 3, "a batch's pictures differ, by their seeds"
    paid(user, job_id, 3, before)

    body = site.delivered(job_id)
    assets = [a for a in user.status(job_id)["assets"] if a["kind"] == "image"]
    assert (body["job_id"], body["status"], body["assets"]) == (job_id, "completed", [a["path"] for a in assets])
    assert body["metadata"]["seeds"] == [7, 8, 9] and body["metadata"]["num_images"] == 3
    words = user.one(f"job_payloads?job_id=eq.{job_id}&select=prompt,metadata")
    assert words == {"prompt": PROMPT, "metadata": {"prompt": PROMPT, "num_images": 3, "steps": 2, "seed": 7}}

    url = site.app.store.sign(assets[0]["bucket"], assets[0]["path"], 60)  # the URL that `ourvidz buckets link` prints
    assert httpx.get(url).content == pictures[0]
    assert httpx.get(url.replace(assets[0]["path"], assets[1]["path"])).status_code in (400, 403, 404)


@pytest.mark.parametrize("inserted", [True, False], ids=["row first", "message alone"])
def test_a_redis_message_becomes_one_image(site: Deployment, user: FrontEnd, inserted: bool) -> None:
    before, job_id = user.tokens, str(uuid.uuid4())
    if inserted:
        row = user.insert(
            "jobs", user_id=user.user.id, job_type="sdxl_image_high", format="sdxl_image", quality="high", model_type="sdxl-high",
            metadata={"prompt": PROMPT, "steps": 2}, project_id=None, video_id=None, image_id=None, status="queued",
        )  # fmt: skip
        job_id = row["id"]
    wire = message(user.user, "sdxl_image_high", PROMPT, job_id, seed=11)
    for _ in range(2):  # delivery is at least once, by senders and drainers
        site.push(wire)
    became = site.drain()
    assert became == {"joined" if inserted else "drained": 1, "repeated": 1}
    user.wait(job_id)
    assert len(shown(site, user, job_id)) == 1
    assert [r["id"] for r in user.get(f"jobs?user_id=eq.{user.user.id}")] == [job_id]
    paid(user, job_id, 2, before)
    assert site.delivered(job_id)["status"] == "completed"
    assert site.drain() == {}, "nothing is left in the processing list"


def test_a_video_and_its_thumbnail(site: Deployment, user: FrontEnd) -> None:
    before, wire = user.tokens, message(user.user, "video_fast", PROMPT)
    site.push(wire)
    assert site.drain() == {"drained": 1}
    job_id = wire["id"]
    user.wait(job_id)
    assert len(shown(site, user, job_id, "video")) == 1
    kinds = {a["kind"]: a for a in user.get(f"artifacts?job_id=eq.{job_id}")}
    assert (kinds["video"]["bucket"], kinds["video"]["media_type"], kinds["video"]["frames"]) == ("video_fast", "video/mp4", 81)
    assert (kinds["thumbnail"]["bucket"], kinds["thumbnail"]["media_type"]) == ("video-thumbnails", "image/webp")
    paid(user, job_id, 20, before)
    body = site.delivered(job_id)
    assert body["assets"] == [kinds["video"]["path"]]
    assert body["metadata"]["thumbnails"] == [f"video-thumbnails/{kinds['thumbnail']['path']}"]


def test_a_refused_prompt_from_redis_fails_without_charge(site: Deployment, user: FrontEnd) -> None:
    word = "schoolgirl"  # from the term lists: a neutral word by itself
    before, wire = user.tokens, message(user.user, "sdxl_image_fast", word)
    site.push(wire)
    assert site.drain() == {"drained": 1}
    told = user.wait(wire["id"], "failed")
    assert told["error"]["class"] == "refused_content" and told["assets"] == []
    row = user.one(f"jobs?id=eq.{wire['id']}")
    assert (row["status"], row["final"]) == ("failed", True)
    paid(user, wire["id"], 0, before)
    body = site.delivered(wire["id"])
    assert body["status"] == "failed" and body["assets"] == [] and word not in body["error_message"]
    with site.project.client(user.user) as client:
        again = client.post("/rest/v1/rpc/retry_job", json={"job_id": wire["id"]})
    assert again.status_code == 409 and user.tokens == before, again.text


def test_a_cancel_while_it_runs(site: Deployment, user: FrontEnd) -> None:
    before = user.tokens
    job_id = user.queue("video7b_high_enhanced", prompt=PROMPT, steps=80)["job"]["id"]
    wait_for(lambda: user.one(f"jobs?id=eq.{job_id}")["status"] == "generating", "for it to run")
    assert user.rpc("cancel_job", job_id=job_id)["done"] == "cancel_requested"
    told = user.wait(job_id, "failed")
    assert (told["status"], told["error"]["class"], told["assets"]) == ("cancelled", "cancelled", [])
    report = user.get(f"usage_logs?job_id=eq.{job_id}&order=created_at")
    assert [r["action"] for r in report] == ["job_queued", "job_cancelled"] and user.tokens == before
    body = site.delivered(job_id)
    assert (body["status"], body["error_message"]) == ("failed", "cancelled")


def test_a_scene_is_previewed_approved_and_rendered(site: Deployment, user: FrontEnd) -> None:
    project = user.insert("projects", user_id=user.user.id, original_prompt=PROMPT)
    scene = user.insert("videos", user_id=user.user.id, project_id=project["id"], scene_number=1)["id"]
    preview = user.queue("image_fast", {"videoId": scene, "projectId": project["id"]}, steps=2)["job"]["id"]
    user.wait(preview)
    (picture,) = (a for a in user.status(preview)["assets"] if a["kind"] == "image")
    assert user.one(f"videos?id=eq.{scene}")["preview_url"] == picture["path"]

    approved = user.rpc("approve_preview", video_id=scene, job_type="video_fast", config={"sample_steps": 2})
    final = approved["job_id"]
    given = user.one(f"job_payloads?job_id=eq.{final}&select=prompt,settings")
    assert given["prompt"] == PROMPT and given["settings"]["references"] == {"first_frame": f"{picture['bucket']}/{picture['path']}"}
    user.wait(final)
    (film,) = (a for a in user.status(final)["assets"] if a["kind"] == "video")
    row = user.one(f"videos?id=eq.{scene}")
    assert (row["status"], row["video_url"]) == ("completed", film["path"])
    assert row["duration"] == pytest.approx(81 / 16) and row["resolution"] and row["approved_at"]
    for bucket, path in (("preview_bucket", "preview_url"), ("bucket", "video_url"), ("thumbnail_bucket", "thumbnail_url")):
        assert user.download(row["metadata"][bucket], row[path]).status_code == 200
    assert "reference_skipped" not in {e["type"] for e in user.get(f"job_events?job_id=eq.{final}")}
    assert site.delivered(final)["metadata"]["video_id"] == scene


def test_the_deployed_callbacks_update_changes_no_status(site: Deployment, user: FrontEnd) -> None:
    job_id = user.queue("sdxl_image_fast", prompt=PROMPT, steps=2)["job"]["id"]
    user.wait(job_id)
    before = user.one(f"jobs?id=eq.{job_id}")
    change = {"status": "failed", "metadata": {"seed": 5, "generation_time": 1.5}, "error_message": "timed out",
              "completed_at": "2025-07-07T12:00:00Z"}  # fmt: skip
    with site.project.client(site.project.service_key) as service:
        answer = service.patch(f"/rest/v1/jobs?id=eq.{job_id}", json=change)
    assert answer.status_code == 204, answer.text
    after = user.one(f"jobs?id=eq.{job_id}")
    assert (after["metadata"], after["error_message"]) == (change["metadata"], "timed out")
    assert {k for k in after if after[k] != before[k]} <= {"metadata", "error_message"}
    assert user.status(job_id)["word"] == "completed"


def test_finally_audit_rebuild_and_ledger_agree(site: Deployment) -> None:
    """Runs last, after all of the above."""
    report = audit(site.app.database)
    assert report.jobs >= 8 and report.findings == ()
    assert rebuild(site.app.database, verify=True) == ()
    assert ledger.check(site.app.database) == []
