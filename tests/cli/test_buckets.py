"""`ourvidz buckets`: creates buckets and applies the catalog's settings, never deletes one; sweeps unreferenced objects only."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cli_command import Command
from storage_site import Face
from support import artifact, claim, executor, submit
from waiting import LIMIT

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from ourvidz.storage.base import object_path
from ourvidz.storage.folder import FolderStore
from ourvidz.storage.supabase import HIDDEN
from state.catalog import BUCKETS, MB

BUCKET = "sdxl_image_fast"


def project(face: Face) -> dict[str, str]:
    return {"SUPABASE_URL": face.url, "SUPABASE_SERVICE_KEY": face.secret.service}


@pytest.fixture
def empty(new_face: Callable[..., Face]) -> Face:
    return new_face()


def settings(face: Face) -> dict[str, tuple[bool, int | None, list[str] | None]]:
    with face.client() as client:
        found = client.get("/bucket").json()
    return {b["id"]: (b["public"], b["file_size_limit"], b["allowed_mime_types"]) for b in found}


WANTED = {name: (b.public, b.max_bytes, sorted(b.media_types)) for name, b in BUCKETS.items()}


def test_a_new_project_gets_every_bucket(bare: Command, empty: Face) -> None:
    dry = bare("buckets", "sync", "--dry-run", **project(empty))
    assert dry.code == 0 and settings(empty) == {}
    assert {line[1] for line in dry.lines} == {"missing"} and f"{len(BUCKETS)} buckets to make" in dry.err
    done = bare("buckets", "sync", **project(empty))
    assert (done.code, {line[1] for line in done.lines}) == (0, {"as asked"}), done.err
    assert settings(empty) == WANTED
    again = bare("buckets", "sync", "--json", **project(empty))
    assert {row["state"] for row in again.json} == {"as asked"} and "0 buckets made or changed" in again.err


def test_narrower_settings_are_widened_and_wider_ones_kept(bare: Command, empty: Face) -> None:
    bare("buckets", "sync", **project(empty))
    production = 5 * 1024 * 1024  # OurVidz's limits are in MiB and accept more types
    with empty.client() as client:
        client.post("/bucket", json={"name": "avatars", "public": True}).raise_for_status()
        for name, has in (
            (BUCKET, {"public": True, "file_size_limit": 1000, "allowed_mime_types": ["image/jpeg", "image/png"]}),
            ("image_fast", {"file_size_limit": production, "allowed_mime_types": ["image/jpeg", "image/png", "image/webp"]}),
            ("video_high", {"file_size_limit": None, "allowed_mime_types": None}),
        ):
            client.put(f"/bucket/{name}", json=has).raise_for_status()
    listed = {row["name"]: row for row in bare("buckets", "ls", "--json", **project(empty)).json}
    assert {name: row["state"] for name, row in listed.items() if row["state"] != "as asked"} == {
        "avatars": "not ours", BUCKET: "differs", "image_fast": "wider", "video_high": "wider",
    }  # fmt: skip
    assert listed["image_fast"]["differs"]["file_size_limit"] == production
    done = bare("buckets", "sync", **project(empty))
    assert done.code == 0 and "--exact" in done.err and "1 bucket made or changed" in done.err
    types = sorted({"image/jpeg", *BUCKETS[BUCKET].media_types})
    wide = {
        BUCKET: (False, BUCKETS[BUCKET].max_bytes, types),
        "image_fast": (False, production, ["image/jpeg", "image/png", "image/webp"]),
        "video_high": (False, None, None),
        "avatars": (True, None, None),
    }
    assert settings(empty) == WANTED | wide
    assert bare("buckets", "sync", "--exact", **project(empty)).code == 0
    assert settings(empty) == {**WANTED, "avatars": (True, None, None)}


def test_a_bucket_opened_by_a_policy_is_not_created(ourvidz: Command, empty: Face, database: Database) -> None:
    database.rows("create policy \"Left over\" on storage.objects for select using (bucket_id = 'scene-previews')")
    done = ourvidz("buckets", "sync", **project(empty))
    assert done.code == 1 and set(settings(empty)) == set(BUCKETS) - {"scene-previews"}
    assert 'policy "Left over" on storage.objects lets anon select; another user select;' in done.err and "in scene-previews" in done.err
    assert 'drop policy "Left over" on storage.objects;' in done.err
    assert ourvidz("migrate").code == 0
    assert ourvidz("buckets", "sync", **project(empty)).code == 0 and settings(empty) == WANTED


def test_a_limit_above_the_projects_is_reported_and_other_buckets_are_created(bare: Command, new_face: Callable[..., Face]) -> None:
    free_plan = new_face(limit=50 * MB)
    done = bare("buckets", "sync", **project(free_plan))
    assert done.code == 1
    assert "video_high" in done.err and "whole project's" in done.err
    over = {name for name, bucket in BUCKETS.items() if bucket.max_bytes > 50 * MB}
    assert set(settings(free_plan)) == set(BUCKETS) - over and over


def test_without_a_project_the_buckets_are_folders(bare: Command) -> None:
    done = bare("buckets", "sync")
    assert done.code == 1 and "SUPABASE_URL" in done.err


def test_a_wrong_key_is_reported(bare: Command, empty: Face) -> None:
    done = bare("buckets", "ls", SUPABASE_URL=empty.url, SUPABASE_SERVICE_KEY="not.a.key")
    assert done.code == 1 and "SUPABASE_SERVICE_KEY" in done.err and "not.a.key" not in done.err


class Shelf:
    """Objects of a known job (one referenced, one not), of an unknown job, and foreign objects."""

    def __init__(self, jobs: Jobs, user: str, put: Callable[[str, str], None]) -> None:
        job_id = submit(jobs, user)
        job = claim(jobs, executor(jobs))
        self.named = object_path(user, job_id, 1, 0, "png")
        self.lost = object_path(user, job_id, 1, 7, "png")
        jobs.advance(job, "generation_started")
        jobs.artifact_generated(job, artifact(job) | {"bucket": BUCKET, "path": self.named})
        self.unknown = object_path(str(uuid4()), str(uuid4()), 1, 0, "png")
        self.other = [f"{user}/references/{'a' * 32}.png", f"{user}/{job_id}/notes.png", f"{user}/sdxl_{job_id}_1.png"]
        for path in (self.named, self.lost, self.unknown, *self.other):
            put(BUCKET, path)


@pytest.fixture
def hosted(standing_face: Face, jobs: Jobs, user: Callable[..., str], tmp_path: Path) -> tuple[Face, Shelf]:
    standing_face.clear(BUCKETS)
    source = tmp_path / "source.png"
    source.write_bytes(b"picture")
    store = standing_face.store(BUCKETS)
    return standing_face, Shelf(jobs, user(), lambda bucket, path: store.put(bucket, path, source, "image/png") and None)


def left(face: Face) -> set[str]:
    return set(face.store(BUCKETS).list(BUCKET))


def test_only_old_unreferenced_objects_are_swept(ourvidz: Command, hosted: tuple[Face, Shelf]) -> None:
    face, shelf = hosted
    everything = left(face)
    young = ourvidz("buckets", "sweep", "--yes", "--json", **project(face)).json
    assert (young["orphans"], young["deleted"]) == ([], 0) and left(face) == everything
    dry = ourvidz("buckets", "sweep", "--older", "0", "--dry-run", "--json", **project(face))
    assert {(o["path"], o["known"]) for o in dry.json["orphans"]} == {(shelf.lost, True), (shelf.unknown, False)}
    assert left(face) == everything
    asked = ourvidz("buckets", "sweep", "--older", "0", **project(face))
    assert asked.code == 2 and "--yes" in asked.err and left(face) == everything
    done = ourvidz("buckets", "sweep", "--older", "0", "--yes", **project(face))
    assert done.code == 0 and done.lines == [[BUCKET, "2", "14", "1", datetime.now(UTC).date().isoformat()]]
    assert "1 object of jobs that this database does not know" in done.err
    assert left(face) == everything - {shelf.lost}
    assert ourvidz("buckets", "sweep", "--older", "0", "--yes", "--unknown-jobs", **project(face)).code == 0
    assert left(face) == everything - {shelf.lost, shelf.unknown}


def test_unfinished_uploads_are_swept_too(ourvidz: Command, hosted: tuple[Face, Shelf]) -> None:
    face, shelf = hosted
    with face.client() as client:
        client.post(f"/object/{BUCKET}/{HIDDEN}{shelf.lost}.0a1b", content=b"x", headers={"content-type": "image/png"}).raise_for_status()
    assert ourvidz("buckets", "sweep", "--yes", "--json", **project(face)).json["unfinished"] == 0
    done = ourvidz("buckets", "sweep", "--older", "0", "--yes", "--json", **project(face)).json
    assert (done["unfinished"], done["unfinished_deleted"]) == (1, 1)


def test_a_folder_store_is_swept_the_same_way(ourvidz: Command, jobs: Jobs, user: Callable[..., str], tmp_path: Path) -> None:
    root, source = tmp_path / "home" / "storage", tmp_path / "source.png"
    source.write_bytes(b"picture")
    store = FolderStore(root, BUCKETS)
    shelf = Shelf(jobs, user(), lambda bucket, path: store.put(bucket, path, source, "image/png") and None)
    then = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    os.utime(root / BUCKET / shelf.lost, (then, then))
    assert ourvidz("buckets", "sweep", "--yes", "--json").json["deleted"] == 1
    assert shelf.lost not in store.list(BUCKET) and shelf.named in store.list(BUCKET)


def test_a_link_can_be_read_without_a_key(bare: Command, hosted: tuple[Face, Shelf]) -> None:
    face, shelf = hosted
    done = bare("buckets", "link", f"{BUCKET}/{shelf.named}", "--for", "10m", **project(face))
    with urllib.request.urlopen(done.out.strip(), timeout=LIMIT) as answer:
        assert answer.read() == b"picture"
    for wrong in ((f"{BUCKET}/{shelf.named}", "--for", "0"), (BUCKET,), (f"{BUCKET}/{shelf.named}", "--for", "soon")):
        assert bare("buckets", "link", *wrong, **project(face)).code == 2
    assert bare("buckets", "link", f"{BUCKET}/{uuid4()}/x.png", **project(face)).code == 1
