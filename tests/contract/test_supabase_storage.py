"""The Supabase adapter against the contract, and its errors for the server's refusals."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from storage_site import QUICK, Face, Line, Trouble, said

from ourvidz.storage.base import (
    BucketLimit,
    BucketMissing,
    MediaTypeRefused,
    ObjectExists,
    ObjectTooLarge,
    PathRefused,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from ourvidz.storage.refusals import Away, told
from ourvidz.storage.supabase import SupabaseStorage

from .artifact_store import BUCKETS, IMAGES, MB, VIDEOS, ArtifactStoreContract, Limit, StoreFactory

PATH = "u/j/1-0.png"
WIDER = {IMAGES: Limit(500 * MB, frozenset({"image/png", "video/mp4"})), VIDEOS: Limit(500 * MB, frozenset({"image/png", "video/mp4"}))}
"""Bucket limits as seen by a program whose catalog is newer than the server's buckets."""


class TestSupabaseStorage(ArtifactStoreContract):
    @pytest.fixture
    def store_factory(self, face: Face) -> StoreFactory:
        def make(buckets: Mapping[str, BucketLimit]) -> SupabaseStorage:
            return face.store(buckets)

        return make


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "picture"
    path.write_bytes(b"picture")
    return path


@pytest.mark.parametrize(
    ("bucket", "path", "size", "media_type", "leaf"),
    [
        (IMAGES, "a.mp4", 10, "video/mp4", MediaTypeRefused),
        (IMAGES, "a.png", 5 * MB + 1, "image/png", ObjectTooLarge),
        (VIDEOS, "a.png", 7 * MB, "image/png", MediaTypeRefused),  # resumable
        (VIDEOS, "a.mp4", 101 * MB, "video/mp4", ObjectTooLarge),
        ("nowhere", "a.png", 10, "image/png", BucketMissing),
    ],
)
def test_each_server_refusal_has_its_error_class(
    face: Face, tmp_path: Path, bucket: str, path: str, size: int, media_type: str, leaf: type[StorageError]
) -> None:
    store = face.store({**WIDER, "nowhere": WIDER[IMAGES]})
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(size)
    with pytest.raises(leaf) as raised:
        store.put(bucket, path, source, media_type)
    assert not raised.value.retryable and path in str(raised.value)
    assert store.list(IMAGES) == store.list(VIDEOS) == []
    assert next(store._pages(IMAGES, ""), None) is None  # not even under a hidden name


@pytest.mark.parametrize("key", ["no.such.key", "expired", "forged"])
def test_a_wrong_key_is_reported_without_showing_it(face: Face, source: Path, key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = {"expired": face.secret.expired("u"), "forged": f"{face.secret.service[:-6]}aaaaaa"}.get(key, key)
    store = SupabaseStorage(face.url, key, BUCKETS, QUICK)
    for call in (
        lambda: store.put(IMAGES, PATH, source, "image/png"),
        lambda: store.delete(IMAGES, PATH),
        lambda: store.list(IMAGES),
        lambda: store.sign(IMAGES, PATH, 5),
    ):
        with pytest.raises(StorageDenied) as raised:
            call()
        assert "SUPABASE_SERVICE_KEY" in str(raised.value) and not raised.value.retryable
        assert key not in "".join(traceback.format_exception(raised.value)) + repr(store)
    assert key not in caplog.text


@pytest.mark.parametrize("key", ["", " ", "two\nlines", "schlüssel"])
def test_a_key_invalid_in_a_header_is_refused_without_quoting_it(face: Face, key: str) -> None:
    with pytest.raises(StorageDenied) as raised:
        SupabaseStorage(face.url, key, BUCKETS)
    assert not key.strip() or key not in str(raised.value)


def test_a_key_may_end_in_a_newline(face: Face, source: Path) -> None:
    assert SupabaseStorage(face.url, f"{face.secret.service}\n", BUCKETS).put(IMAGES, PATH, source, "image/png").bytes == 7


def test_which_headers_carry_the_key() -> None:
    """A new-style secret key is not a JWT: the gateway would refuse it as a bearer token."""
    new, legacy = (SupabaseStorage("http://127.0.0.1:1", key, BUCKETS).api._client.headers for key in ("sb_secret_abc", "a.b.c"))
    assert new["apikey"] == "sb_secret_abc" and "authorization" not in new
    assert (legacy["apikey"], legacy["authorization"]) == ("a.b.c", "Bearer a.b.c")


def test_a_disabled_legacy_key_is_reported_as_such() -> None:
    hint = "Your legacy API keys (anon, service_role) were disabled on 2026-10-30. Re-enable them in the Supabase dashboard."
    found = told(401, json.dumps({"message": "Legacy API keys are disabled", "hint": hint}).encode(), {}, "listing")
    assert isinstance(found, StorageDenied)
    assert "Legacy API keys are disabled" in str(found) and "set it as SUPABASE_SECRET_KEY" in str(found)


def test_only_the_service_key_may_put(face: Face, source: Path) -> None:
    for key in (face.secret.anon, face.secret.user(str(uuid4()))):
        with pytest.raises(StorageDenied):
            SupabaseStorage(face.url, key, BUCKETS, QUICK).put(IMAGES, PATH, source, "image/png")


def body(status: int | str, code: str = "", error: str = "", message: str = "no") -> bytes:
    return json.dumps({"statusCode": str(status), "code": code, "error": error, "message": message}).encode()


@pytest.mark.parametrize(
    ("status", "answer", "leaf"),
    [
        (400, body(409, "ResourceAlreadyExists", "Duplicate"), ObjectExists),
        (400, body(409, "", "Duplicate"), ObjectExists),  # before `code` existed
        (400, body(415, "InvalidMimeType", "invalid_mime_type"), MediaTypeRefused),
        (400, body(413, "EntityTooLarge", "Payload too large"), ObjectTooLarge),
        (413, b"<html>nginx</html>", ObjectTooLarge),
        (400, body(404, "NoSuchBucket", "Bucket not found"), BucketMissing),
        (400, body(404, "", "Bucket not found"), BucketMissing),
        (400, body(403, "AccessDenied", "Unauthorized"), StorageDenied),
        (401, b'{"message":"No API key found in request"}', StorageDenied),
        (400, body(400, "InvalidKey"), PathRefused),
        (400, body("what"), StorageError),
        (400, b"[]", StorageError),
        (301, b"", StorageError),
        (400, b"Request aborted due to lock acquired", Away),
        (402, b"", StorageFull),
        (507, b"", StorageFull),
        (423, body(423, "ResourceLocked"), Away),
        (429, body(429, "SlowDown"), Away),
        (500, body(500, "InternalError"), Away),
        (544, body(544, "DatabaseTimeout"), Away),
        (502, b"\xff\xfe bad gateway", Away),
    ],
)
def test_errors_are_classified_by_the_status_in_the_body(status: int, answer: bytes, leaf: type[StorageError]) -> None:
    error = told(status, answer, {}, "reading b/p")
    assert type(error) is leaf or (leaf is ObjectTooLarge and isinstance(error, leaf))
    assert "reading b/p" in str(error)


def test_server_messages_are_shortened_to_one_line() -> None:
    text = str(told(400, body(400, message="a\nb\n" * 5000), {}, "reading"))
    assert len(text) < 400 and "\n" not in text


@pytest.mark.parametrize(("header", "after"), [("7", 7.0), ("100000", 60.0), ("soon", 0.0), ("-1", 0.0)])
def test_retry_after_header_is_parsed_and_capped(header: str, after: float) -> None:
    error = told(429, b"", {"retry-after": header}, "reading")
    assert isinstance(error, Away) and error.after == after and not error.done


def test_retry_waits_for_retry_after(face: Face, line: Line, source: Path) -> None:
    store = face.store(BUCKETS, line.url)
    line.trouble = [Trouble("POST /storage/v1/object/sdxl", times=1, answer=said("429 Too Many", retry_after="1"))]
    began = time.monotonic()
    store.put(IMAGES, PATH, source, "image/png")
    assert time.monotonic() - began >= 1.0
    assert line.count("POST /storage/v1/object/sdxl") == 2


def test_a_signed_url_expires_and_covers_one_object(face: Face, source: Path) -> None:
    store = face.store(BUCKETS)
    store.put(IMAGES, PATH, source, "image/png")
    store.put(IMAGES, "u/j/2-0.png", source, "image/png")
    address, short = store.sign(IMAGES, PATH, 600), store.sign(IMAGES, PATH, 1)
    assert httpx.get(address).content == b"picture"
    assert httpx.get(address, headers={"range": "bytes=1-3"}).content == b"ict"  # as when a player seeks
    for wrong in (address.replace("1-0", "2-0"), address[:-4] + "aaaa", address.partition("?")[0]):
        assert httpx.get(wrong).status_code == 400
    time.sleep(1.1)
    assert httpx.get(short).status_code == 400


def test_listing_reads_all_pages(face: Face, source: Path) -> None:
    store = face.store(BUCKETS)
    row = """insert into storage.objects (bucket_id, name, version, metadata)
             select %s, format('u/%%s/1-0.png', n), gen_random_uuid(), '{"size": 1, "mimetype": "image/png"}'
             from generate_series(0, 1004) as n"""
    with psycopg.connect(face.database_url, autocommit=True) as connection:
        connection.execute(row, (IMAGES,))  # as Storage records an upload
        try:
            assert len(set(store.list(IMAGES, "u"))) == 1005
            assert store.list(IMAGES, "u/7") == ["u/7/1-0.png"]
        finally:
            connection.execute("set storage.allow_delete_query = 'true'")
            connection.execute("delete from storage.objects where bucket_id = %s", (IMAGES,))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid", "ftp://x", "not an address", ""])
def test_an_unreachable_server_raises_storage_unavailable(url: str, source: Path) -> None:
    store = SupabaseStorage(url, "key", BUCKETS, QUICK)
    with pytest.raises(StorageUnavailable) as raised:
        store.put(IMAGES, PATH, source, "image/png")
    assert raised.value.retryable


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b"[]", b"null", b""])
def test_answers_of_another_server_raise_storage_errors(line: Line, answer: bytes, source: Path) -> None:
    store = SupabaseStorage(line.url, "key", BUCKETS, QUICK)
    line.trouble = [Trouble("", times=99, answer=said("200 OK", answer))]
    for call in (lambda: store.list(IMAGES), lambda: store.sign(IMAGES, PATH, 9), lambda: store.put(VIDEOS, "a.mp4", source, "video/mp4")):
        with pytest.raises(StorageError):
            call()
