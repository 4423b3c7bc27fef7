"""The Storage face that tests and `ourvidz dev up` stand on: rights, forms and ranges as browsers use them, and what a kill leaves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from stack_fixtures import Project
from storage_site import QUICK, Face, start_storage

from ourvidz.dev import tokens
from ourvidz.storage.supabase import SupabaseStorage
from ourvidz.storage.tus import PIECE
from state.catalog import BUCKETS

BUCKET, PUBLIC = "character-images", "system-assets"
ANNA, BERT = str(uuid4()), str(uuid4())
PNG = {"content-type": "image/png"}


@pytest.fixture
def face(standing_face: Face) -> Face:
    standing_face.clear(BUCKETS)
    return standing_face


@pytest.fixture
def anna(face: Face) -> Iterator[httpx.Client]:
    with face.client(face.secret.user(ANNA)) as client:
        yield client


def code(answer: httpx.Response) -> str:
    assert answer.status_code == 400
    return str(answer.json()["statusCode"])


def test_a_user_has_their_own_folder_and_no_other(face: Face, anna: httpx.Client) -> None:
    mine, theirs = f"/object/{BUCKET}/{ANNA}/a.png", f"/object/{BUCKET}/{BERT}/b.png"
    with face.client() as service:
        assert service.post(theirs, content=b"b", headers=PNG).status_code == 200
    assert anna.post(mine, content=b"a", headers=PNG).status_code == 200
    assert anna.get(mine).content == b"a"
    for wrong in (anna.post(theirs.replace("b.png", "c.png"), content=b"x", headers=PNG), anna.post("/bucket", json={"name": "x"})):
        assert code(wrong) == "403"
    for hidden in (anna.get(theirs), anna.delete(theirs), anna.post(theirs.replace("object/", "object/sign/"), json={"expiresIn": 5})):
        assert code(hidden) == "404"
    moved = {"bucketId": BUCKET, "sourceKey": f"{ANNA}/a.png", "destinationKey": f"{BERT}/a.png"}
    assert code(anna.post("/object/move", json=moved)) == "403"
    listed = anna.post(f"/object/list-v2/{BUCKET}", json={"prefix": ""}).json()["objects"]
    assert [row["name"] for row in listed] == [f"{ANNA}/a.png"]
    assert code(anna.post(mine, content=b"again", headers=PNG)) == "409"
    assert anna.post(mine, content=b"again", headers={**PNG, "x-upsert": "true"}).status_code == 200
    assert anna.get(mine).content == b"again"


@pytest.mark.parametrize("token", ["", "nonsense", "none", "stripped", "expired", "another's"])
def test_a_token_that_proves_nothing_opens_nothing(face: Face, token: str) -> None:
    good = face.secret.user(ANNA)
    given = {
        "none": tokens.unsigned(ANNA),
        "stripped": tokens.stripped(good),
        "expired": face.secret.expired(ANNA),
        "another's": tokens.Secret().service,
    }.get(token, token)
    with httpx.Client(base_url=f"{face.url}/storage/v1", headers={"authorization": f"Bearer {given}".strip()}) as client:
        assert code(client.get(f"/object/{BUCKET}/{ANNA}/a.png")) == "403"
        assert code(client.get("/bucket")) == "403"
        metadata = "bucketName Y2hhcmFjdGVyLWltYWdlcw==,objectName eA=="
        begun = client.post("/upload/resumable", headers={"tus-resumable": "1.0.0", "upload-length": "5", "upload-metadata": metadata})
        assert begun.status_code == 403


def test_a_public_bucket_is_read_by_anyone_and_another_is_not(face: Face) -> None:
    with face.client() as service:
        service.post(f"/object/{PUBLIC}/logo.png", content=b"logo", headers=PNG).raise_for_status()
        service.post(f"/object/{BUCKET}/logo.png", content=b"logo", headers=PNG).raise_for_status()
    assert httpx.get(f"{face.url}/storage/v1/object/public/{PUBLIC}/logo.png").content == b"logo"
    assert code(httpx.get(f"{face.url}/storage/v1/object/public/{BUCKET}/logo.png")) == "404"


def test_a_form_as_browsers_send_it(anna: httpx.Client) -> None:
    path = f"/object/{BUCKET}/{ANNA}/photo.png"
    posted = anna.post(path, data={"cacheControl": "60"}, files={"": ("photo.png", b"photo", "image/png")})
    assert posted.status_code == 200, posted.text
    got = anna.get(path, headers={"range": "bytes=1-"})
    assert (got.status_code, got.content) == (206, b"hoto")
    assert (got.headers["content-type"], got.headers["cache-control"]) == ("image/png", "max-age=60")
    assert code(anna.post(path, files={"": ("photo.txt", b"photo", "text/plain")})) == "415"
    assert code(anna.get(path, headers={"range": "bytes=99-"})) == "400"


def test_objects_and_half_uploads_outlive_a_kill(tmp_path: Path) -> None:
    secret, root = tokens.Secret(), tmp_path / "storage"
    process, url = start_storage(root, secret)
    face = Face(url, root, secret)
    face.clear(BUCKETS)
    store, source = face.store(BUCKETS), tmp_path / "source"
    source.write_bytes(os.urandom(2 * PIECE))
    store.put("video_high", "u/j/1-0.mp4", source, "video/mp4")
    os.kill(process.pid, signal.SIGKILL)
    process.stop()
    again, _ = start_storage(root, secret, port=int(url.rpartition(":")[2]))
    try:
        assert store.read("video_high", "u/j/1-0.mp4") == source.read_bytes()
        assert store.put("video_high", "u/j/1-0.mp4", source, "video/mp4").bytes == 2 * PIECE
        assert store.delete("video_high", "u/j/1-0.mp4")
    finally:
        again.stop()


def test_big_uploads_and_signed_addresses_through_the_gateway(project: Project, tmp_path: Path) -> None:
    store = SupabaseStorage(project.url, project.service_key, BUCKETS, QUICK)
    Face(project.url, tmp_path, project.secret).clear(BUCKETS)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(2 * PIECE + 1))
    store.put("video_high", "u/j/1-0.mp4", source, "video/mp4")
    assert store.read("video_high", "u/j/1-0.mp4") == source.read_bytes()
    assert httpx.get(store.sign("video_high", "u/j/1-0.mp4", 60), timeout=20).content == source.read_bytes()
