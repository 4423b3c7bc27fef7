"""The Storage server behind the tests and `ourvidz dev up`: access rights, browsers' forms and ranges, and recovery from a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from sqlalchemy import make_url
from stack_fixtures import Project
from storage_site import QUICK, Face, start_storage
from support import Server
from waiting import LIMIT, wait_for

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


def test_users_access_only_their_own_folder(face: Face, anna: httpx.Client) -> None:
    mine, theirs = f"/object/{BUCKET}/{ANNA}/a.png", f"/object/{BUCKET}/{BERT}/b.png"
    with face.client() as service:
        assert service.post(theirs, content=b"b", headers=PNG).status_code == 200
    assert anna.post(mine, content=b"a", headers=PNG).status_code == 200
    assert anna.get(mine).content == b"a"
    public = {"public": True}
    elsewhere = anna.post(theirs.replace("b.png", "c.png"), content=b"x", headers=PNG)
    assert code(elsewhere) == code(anna.post("/bucket", json={"name": "x", **public})) == "403"
    assert anna.get("/bucket").json() == [], "no policy shows a user the rows of buckets"
    assert (code(anna.put(f"/bucket/{BUCKET}", json=public)), code(anna.delete(f"/bucket/{BUCKET}"))) == ("404", "409")
    assert code(anna.post(f"/bucket/{BUCKET}/empty")) == "404"
    for hidden in (anna.get(theirs), anna.delete(theirs), anna.post(theirs.replace("object/", "object/sign/"), json={"expiresIn": 5})):
        assert code(hidden) == "404"
    moved = {"bucketId": BUCKET, "sourceKey": f"{ANNA}/a.png", "destinationKey": f"{BERT}/a.png"}
    assert code(anna.post("/object/move", json=moved)) == "404"
    listed = anna.post(f"/object/list-v2/{BUCKET}", json={"prefix": ""}).json()["objects"]
    assert [row["name"] for row in listed] == [f"{ANNA}/a.png"]
    assert code(anna.post(mine, content=b"again", headers=PNG)) == "409"
    upsert = {**PNG, "x-upsert": "true"}
    assert code(anna.post(mine, content=b"again", headers=upsert)) == code(anna.put(mine, content=b"again", headers=PNG)) == "403"
    assert anna.get(mine).content == b"a", "policies let nobody but the service key overwrite"


@pytest.mark.parametrize("token", ["", "nonsense", "none", "stripped", "expired", "another's"])
def test_invalid_tokens_are_refused(face: Face, token: str) -> None:
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


def test_only_public_buckets_are_readable_anonymously(face: Face) -> None:
    with face.client() as service:
        service.post(f"/object/{PUBLIC}/logo.png", content=b"logo", headers=PNG).raise_for_status()
        service.post(f"/object/{BUCKET}/logo.png", content=b"logo", headers=PNG).raise_for_status()
    assert httpx.get(f"{face.url}/storage/v1/object/public/{PUBLIC}/logo.png").content == b"logo"
    assert code(httpx.get(f"{face.url}/storage/v1/object/public/{BUCKET}/logo.png")) == "404"


def test_browser_form_uploads_are_accepted(anna: httpx.Client) -> None:
    path = f"/object/{BUCKET}/{ANNA}/photo.png"
    posted = anna.post(path, data={"cacheControl": "60"}, files={"": ("photo.png", b"photo", "image/png")})
    assert posted.status_code == 200, posted.text
    got = anna.get(path, headers={"range": "bytes=1-"})
    assert (got.status_code, got.content) == (206, b"hoto")
    assert (got.headers["content-type"], got.headers["cache-control"]) == ("image/png", "max-age=60")
    assert code(anna.post(path, files={"": ("photo.txt", b"photo", "text/plain")})) == "415"
    assert code(anna.get(path, headers={"range": "bytes=99-"})) == "400"


def test_objects_and_partial_uploads_survive_a_kill(server: Server, database_name: str, tmp_path: Path) -> None:
    secret, root = tokens.Secret(), tmp_path / "storage"
    database = server.url(database_name, superuser=True)
    process, url = start_storage(root, secret, database)
    face = Face(url, root, secret)
    face.clear(BUCKETS)
    store, source = face.store(BUCKETS), tmp_path / "source"
    source.write_bytes(os.urandom(2 * PIECE))
    store.put("video_high", "u/j/1-0.mp4", source, "video/mp4")
    os.kill(process.pid, signal.SIGKILL)
    process.stop()
    again, _ = start_storage(root, secret, database, port=int(url.rpartition(":")[2]))
    try:
        assert store.read("video_high", "u/j/1-0.mp4") == source.read_bytes()
        assert store.put("video_high", "u/j/1-0.mp4", source, "video/mp4").bytes == 2 * PIECE
        assert store.delete("video_high", "u/j/1-0.mp4")
    finally:
        again.stop()


def test_an_upload_concurrent_with_a_move_keeps_both_objects(face: Face, server: Server) -> None:
    """Two writers of one object: the second's upload under the temporary name ends while the first's is being moved to its final name."""
    hidden, final = "u/hidden.png", "u/final.png"
    database = server.url(make_url(face.database_url).database, superuser=True)
    waiting = (
        "select from pg_stat_activity where application_name = 'storage' and datname = current_database() and wait_event_type = 'Lock'"
    )
    with face.client() as service, psycopg.connect(database) as moving, psycopg.connect(database) as gate, ThreadPoolExecutor(1) as pool:
        service.post(f"/object/{BUCKET}/{hidden}", content=b"first", headers=PNG).raise_for_status()
        gate.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{BUCKET}/{hidden}",))
        upsert = {**PNG, "x-upsert": "true"}
        second = pool.submit(service.post, f"/object/{BUCKET}/{hidden}", content=b"second", headers=upsert)
        wait_for(lambda: moving.execute(waiting).fetchone() is not None, "for the second's bytes to have come")
        moving.commit()
        moving.execute("update storage.objects set name = %s where name = %s", (final, hidden))
        gate.commit()
        wait_for(lambda: gate.execute(waiting).fetchone() is not None, "for the second to wait for the move")
        moving.commit()
        assert second.result(LIMIT).status_code == 200
        assert service.get(f"/object/{BUCKET}/{final}").content == b"first"
        assert service.get(f"/object/{BUCKET}/{hidden}").content == b"second"


def test_big_uploads_and_signed_addresses_through_the_gateway(project: Project, tmp_path: Path) -> None:
    store = SupabaseStorage(project.url, project.service_key, BUCKETS, QUICK)
    Face(project.url, tmp_path, project.secret).clear(BUCKETS)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(2 * PIECE + 1))
    store.put("video_high", "u/j/1-0.mp4", source, "video/mp4")
    assert store.read("video_high", "u/j/1-0.mp4") == source.read_bytes()
    assert httpx.get(store.sign("video_high", "u/j/1-0.mp4", 60), timeout=LIMIT).content == source.read_bytes()


def test_a_folder_is_listed_as_supabase_js_asks_for_it(face: Face) -> None:
    with face.client() as service:
        for name in ("top.png", "A/b.png", "A/c/d.png", "A/c/e.png", "B/f.png"):
            service.post(f"/object/{BUCKET}/{name}", content=b"x", headers=PNG).raise_for_status()

        def listed(**body: object) -> list[tuple[str, bool]]:
            return [(row["name"], row["id"] is None) for row in service.post(f"/object/list/{BUCKET}", json=body).json()]

        assert listed(prefix="") == [("A", True), ("B", True), ("top.png", False)]
        assert listed(prefix="A") == listed(prefix="A/") == [("b.png", False), ("c", True)]
        assert listed(prefix="A/c", sortBy={"column": "name", "order": "desc"}) == [("e.png", False), ("d.png", False)]
        assert listed(prefix="", limit=1, offset=1) == [("B", True)]
        assert listed(prefix="", search="TO") == [("top.png", False)]
        assert listed(prefix="nowhere") == []
        for wrong in ({"prefix": 1}, {"prefix": "", "limit": "all"}, {"prefix": "", "sortBy": {"column": "owner; drop"}}, ["prefix"]):
            assert code(service.post(f"/object/list/{BUCKET}", json=wrong)) == "400"


def test_batch_sign_and_remove_check_each_object(face: Face, anna: httpx.Client) -> None:
    mine, theirs, missing = f"{ANNA}/a.png", f"{BERT}/b.png", f"{ANNA}/none.png"
    with face.client() as service:
        for name in (mine, theirs):
            service.post(f"/object/{BUCKET}/{name}", content=name.encode(), headers=PNG).raise_for_status()
        signed = anna.post(f"/object/sign/{BUCKET}", json={"expiresIn": 60, "paths": [mine, theirs, missing]}).json()
        assert [(row["path"], row["error"] is None, row["signedURL"] is None) for row in signed] == [
            (mine, True, False),
            (theirs, False, True),
            (missing, False, True),
        ]
        got = httpx.get(f"{face.url}/storage/v1{signed[0]['signedURL']}&download=my%20picture.png")
        assert got.content == mine.encode() and "my%20picture.png" in got.headers["content-disposition"]
        removed = anna.request("DELETE", f"/object/{BUCKET}", json={"prefixes": [mine, theirs, missing]}).json()
        assert [row["name"] for row in removed] == [mine], "what is another's, or not there, is left out without a word"
        assert code(service.get(f"/object/{BUCKET}/{mine}")) == "404" and service.get(f"/object/{BUCKET}/{theirs}").status_code == 200
        assert not (face.root / "data" / "none").exists() and len(list((face.root / "data").iterdir())) == 1, "its bytes are gone too"
        for wrong in ({}, {"prefixes": []}, {"prefixes": [1]}):
            assert code(service.request("DELETE", f"/object/{BUCKET}", json=wrong)) == "400"


def test_a_signed_upload_url_is_limited_to_its_object_and_signers_rights(face: Face, anna: httpx.Client) -> None:
    mine = f"/object/upload/sign/{BUCKET}/{ANNA}/a.png"
    assert code(anna.post(mine.replace(ANNA, BERT), json={})) == "403"
    url = anna.post(mine, json={}).json()["url"]
    put = f"{face.url}/storage/v1{url}"
    assert code(httpx.put(put.replace("a.png", "b.png"), content=b"x", headers=PNG)) == "400"
    assert code(httpx.put(put, content=b"x", headers={"content-type": "text/plain"})) == "415"
    assert httpx.put(put, content=b"brought", headers=PNG).json()["Key"] == f"{BUCKET}/{ANNA}/a.png"
    assert anna.get(f"/object/{BUCKET}/{ANNA}/a.png").content == b"brought"
    assert code(httpx.put(put, content=b"again", headers=PNG)) == "409"
    to_read = anna.post(f"/object/sign/{BUCKET}/{ANNA}/a.png", json={"expiresIn": 60}).json()["signedURL"].split("?")[1]
    assert code(httpx.put(f"{put.split('?')[0]}?{to_read}", content=b"x", headers=PNG)) == "400", "to read is not to write"


def test_concurrent_overwrites_keep_one_version(face: Face) -> None:
    with face.client() as service, ThreadPoolExecutor(8) as pool:
        service.delete(f"/object/{BUCKET}/{ANNA}/a.png")
        before = len(list((face.root / "data").iterdir()))
        upsert = {**PNG, "x-upsert": "true"}
        answers = pool.map(lambda n: service.post(f"/object/{BUCKET}/{ANNA}/a.png", content=b"%d" % n, headers=upsert), range(16))
        assert {answer.status_code for answer in answers} == {200}
        assert len(list((face.root / "data").iterdir())) == before + 1, "what was replaced is gone, and no more than that"
        assert int(service.get(f"/object/{BUCKET}/{ANNA}/a.png").content) in range(16)


def test_objects_can_be_copied_and_buckets_emptied_and_deleted(face: Face) -> None:
    with face.client() as service:
        service.post("/bucket", json={"name": "short-lived", "file_size_limit": 10}).raise_for_status()
        path = "/object/short-lived/a.png"
        assert code(service.post(path, content=b"x" * 11, headers=PNG)) == "413"
        service.post(path, content=b"whole", headers=PNG).raise_for_status()
        asked = {"bucketId": "short-lived", "sourceKey": "a.png", "destinationKey": "b/c.png"}
        assert service.post("/object/copy", json=asked).json()["Key"] == "short-lived/b/c.png"
        assert code(service.post("/object/copy", json=asked)) == "409"
        assert code(service.post("/object/copy", json={**asked, "destinationKey": None})) == "400"
        service.delete(path).raise_for_status()
        assert service.get("/object/short-lived/b/c.png").content == b"whole", "the copy has bytes of its own"
        assert code(service.delete("/bucket/short-lived")) == "409"
        service.post("/bucket/short-lived/empty").raise_for_status()
        service.delete("/bucket/short-lived").raise_for_status()
        assert code(service.get("/bucket/short-lived")) == "404"
