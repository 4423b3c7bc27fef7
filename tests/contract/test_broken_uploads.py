"""Uploads to Supabase Storage while connections break, answers are lost and processes are killed: an object is stored whole and once, or
not at all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import tracemalloc
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import forked
import pytest
import sizes
from storage_site import QUICK, Face, Line, Trouble, said
from waiting import LIMIT

from ourvidz.storage.base import ObjectExists, SourceLost, StorageUnavailable, Stored, object_path
from ourvidz.storage.supabase import HIDDEN, SupabaseStorage
from ourvidz.storage.tus import PIECE, note_of

from .artifact_store import BUCKETS, JOB, MB, USER, VIDEOS

PATH = object_path(USER, JOB, 1, 0, "mp4")
PATCH = "PATCH /storage/v1/upload/resumable/"
SMALL, BIG = 1000, 2 * PIECE + 1000  # one request; three pieces
LATER = timedelta(days=1)


@pytest.fixture
def video(tmp_path: Path) -> Callable[[int], Path]:
    def make(size: int) -> Path:
        path = tmp_path / f"video-{size}"
        with path.open("wb") as file:
            for n in range(0, size, MB):
                file.write(hashlib.sha256(str(n).encode()).digest() * (MB // 32))  # no two megabytes are alike
            file.truncate(size)
        return path

    return make


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(store: SupabaseStorage, source: Path) -> Stored:
    return store.put(VIDEOS, PATH, source, "video/mp4")


def hidden(store: SupabaseStorage) -> list[str]:
    return [entry.path for entry in store._pages(VIDEOS, HIDDEN)]


def is_stored(face: Face, source: Path) -> bool:
    found = face.store(BUCKETS).stat(VIDEOS, PATH)
    return found is not None and (found.bytes, found.sha256, found.media_type) == (source.stat().st_size, sha256(source), "video/mp4")


@pytest.mark.sized
def test_a_large_upload_survives_broken_connections(face: Face, line: Line, video: Callable[[int], Path]) -> None:
    whole = sizes.size(30, 60) * MB
    source, store = video(whole), face.store(BUCKETS, line.url)
    line.trouble = [
        Trouble(PATCH, at=5 * MB),
        Trouble(PATCH, at=1),
        Trouble(PATCH, lost=True),
        Trouble(PATCH, at=0),
        Trouble("HEAD", lost=True),
        Trouble(PATCH, answer=said("502 Bad Gateway")),
        Trouble(PATCH, at=3 * MB),
    ]
    # The server stores a piece as it arrives, so bytes before a break are not sent twice.
    tracemalloc.start()
    try:
        put(store, source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert all(trouble.times == 0 for trouble in line.trouble)
    assert is_stored(face, source) and hidden(store) == []
    assert peak < 8 * MB
    assert line.sent < whole + 5 * MB
    assert not note_of(source).exists()


# Every request of an upload, as a pattern for the connection.
STEPS = {
    SMALL: ["GET .*/info/.*1-0.mp4 ", "POST .*/object/video_fast/", "POST .*/object/move"],
    BIG: ["GET .*/info/.*1-0.mp4 ", "POST .*/upload/resumable", PATCH, "GET .*/info/.*staging", "POST .*/object/move"],
}
MISHAPS = {
    "the line is cut": {"at": 0},
    "the answer is lost": {"lost": True},
    "unavailable": {"answer": said("503 Service Unavailable")},
    "too many": {"answer": said("429 Too Many Requests")},
    "an error of its own": {"answer": said("500 Internal Server Error", b'{"statusCode":"500","code":"InternalError"}')},
}


@pytest.mark.parametrize("mishap", MISHAPS)
@pytest.mark.parametrize(("size", "step"), [(size, step) for size, steps in STEPS.items() for step in steps])
def test_whatever_happens_to_a_request_the_object_is_stored_once(
    face: Face, line: Line, video: Callable[[int], Path], size: int, step: str, mishap: str
) -> None:
    source, store = video(size), face.store(BUCKETS, line.url)
    line.trouble = [Trouble(step, **MISHAPS[mishap])]
    stored = put(store, source)
    assert line.trouble[0].times == 0
    assert stored.sha256 == sha256(source) and is_stored(face, source)
    assert store.list(VIDEOS) == [PATH] and hidden(store) == []


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_answer_to_each_piece_may_be_lost(face: Face, line: Line, video: Callable[[int], Path], n: int) -> None:
    source, store = video(BIG), face.store(BUCKETS, line.url)
    line.trouble = [Trouble(PATCH, times=n - 1), Trouble(PATCH, lost=True)]
    put(store, source)
    assert line.trouble[1].times == 0 and is_stored(face, source)
    assert line.count(PATCH) == 3  # the piece with the lost answer had arrived


@pytest.mark.parametrize("step", ["POST .*/object/video_fast/", "POST .*/object/move"])
def test_an_unavailable_store_raises_a_retryable_error(face: Face, line: Line, video: Callable[[int], Path], step: str) -> None:
    source, store = video(SMALL), face.store(BUCKETS, line.url)
    line.trouble = [Trouble(step, times=99, answer=said("503 Service Unavailable"))]
    with pytest.raises(StorageUnavailable) as raised:
        put(store, source)
    assert raised.value.retryable
    assert line.count(step) == QUICK.tries
    assert store.list(VIDEOS) == []
    line.trouble.clear()
    put(store, source)
    assert is_stored(face, source) and hidden(store) == []


def test_a_request_with_a_lost_answer_is_checked_before_it_is_repeated(face: Face, line: Line, video: Callable[[int], Path]) -> None:
    source, store = video(SMALL), face.store(BUCKETS, line.url)
    line.trouble = [Trouble("POST .*/object/video_fast/", lost=True), Trouble("POST .*/object/move", lost=True)]
    put(store, source)
    assert line.count("POST .*/object/video_fast/") == line.count("POST .*/object/move") == 1


@pytest.mark.parametrize("size", STEPS)
def test_upload_sends_the_media_type_and_never_upserts(face: Face, line: Line, video: Callable[[int], Path], size: int) -> None:
    put(face.store(BUCKETS, line.url), video(size))
    assert not any("x-upsert" in head for head in line.heads)
    (begun,) = (head for head in line.heads if head.startswith("post") and "/object/move" not in head)
    assert ("content-type: video/mp4" if size == SMALL else b64encode(b"video/mp4").decode().lower()) in begun
    assert f"-length: {size}" in begun


def _put_elsewhere(url: str, key: str, path: str, source: Path) -> None:
    SupabaseStorage(url, key, BUCKETS, QUICK).put(VIDEOS, path, source, "video/mp4")


def test_an_upload_resumes_at_the_servers_offset_after_a_kill(face: Face, line: Line, video: Callable[[int], Path]) -> None:
    source, gone = video(5 * PIECE), threading.Event()

    def kill() -> None:
        os.kill(process.pid or 0, signal.SIGKILL)
        gone.set()

    # Break the connection before the kill, so that the process cannot retry.
    line.trouble = [Trouble(PATCH, times=2), Trouble(PATCH, at=MB, then=kill)]
    process = forked.start(_put_elsewhere, line.url, face.secret.service, PATH, source)
    assert gone.wait(LIMIT)
    process.join(LIMIT)
    assert process.exitcode == -signal.SIGKILL
    line.trouble, line.asked, line.sent = [], [], 0
    put(face.store(BUCKETS, line.url), source)
    assert line.count("POST .*/upload/resumable") == 0
    assert line.sent < 3 * PIECE + 1000
    assert is_stored(face, source)


@pytest.mark.parametrize("note", ['{"name": 1}', "", "[]", None])
def test_an_invalid_resume_note_is_ignored(face: Face, line: Line, video: Callable[[int], Path], note: str | None) -> None:
    source, store = video(BIG), face.store(BUCKETS, line.url)
    if note is None:  # of an upload that the server no longer knows
        target = f"{VIDEOS}/{HIDDEN}{PATH}.{sha256(source)[:32]}"
        note = json.dumps({"name": target, "size": BIG, "upload": "bm8vc3VjaC91cGxvYWQ"})
    note_of(source).write_text(note)
    put(store, source)
    assert is_stored(face, source)
    assert line.count("POST .*/upload/resumable") == 1


def test_a_replaced_source_file_starts_a_new_upload(face: Face, line: Line, video: Callable[[int], Path]) -> None:
    source, store = video(BIG), face.store(BUCKETS, line.url)
    line.trouble = [Trouble(PATCH), Trouble(PATCH, times=99, at=0)]
    with pytest.raises(StorageUnavailable):
        put(store, source)
    assert note_of(source).exists()
    source.write_bytes(os.urandom(BIG))
    line.trouble, line.asked = [], []
    put(store, source)
    assert is_stored(face, source) and hidden(store) == []
    assert (line.count("POST .*/upload/resumable"), line.count(PATCH)) == (1, 3)


def test_a_file_that_changes_while_it_is_sent_is_not_stored(face: Face, line: Line, video: Callable[[int], Path]) -> None:
    def shorter(source: Path) -> None:
        os.truncate(source, source.stat().st_size // 2)

    def other(source: Path) -> None:
        with source.open("r+b") as file:
            file.write(b"changed")

    for size, change in ((BIG, shorter), (BIG, other), (SMALL, shorter), (SMALL, other)):
        source, store = video(size), face.store(BUCKETS, line.url)
        begins = PATCH if size == BIG else "POST .*/object/video_fast/"
        line.trouble = [Trouble(begins, at=100, then=partial(change, source))]
        with pytest.raises(SourceLost):
            put(store, source)
        assert store.list(VIDEOS) == [] and hidden(store) == []


def test_the_later_of_two_overlapping_uploads_does_not_overwrite(
    face: Face, line: Line, video: Callable[[int], Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(os.urandom(BIG))
    source, store = video(BIG), face.store(BUCKETS, line.url)
    line.trouble = [Trouble(PATCH, times=2), Trouble(PATCH, before=lambda: put(face.store(BUCKETS), other))]
    with pytest.raises(ObjectExists):
        put(store, source)
    assert is_stored(face, other) and hidden(store) == []


def test_two_uploads_sharing_a_file_and_note_both_succeed(face: Face, video: Callable[[int], Path]) -> None:
    source, together, results = video(BIG), threading.Barrier(2), []

    def write() -> None:
        store = face.store(BUCKETS)
        together.wait(LIMIT)
        results.append(put(store, source))

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert len(results) == 2 and results[0] == results[1]
    assert is_stored(face, source)


def test_a_stale_claims_upload_does_not_touch_the_newer_claims_object(
    face: Face, line: Line, video: Callable[[int], Path], tmp_path: Path
) -> None:
    """The stale claim's upload was suspended midway; when it resumes, the newer one has finished under its own claim number."""
    newer, late = tmp_path / "newer", video(BIG)
    newer.write_bytes(os.urandom(BIG))
    second = object_path(USER, JOB, 2, 0, "mp4")
    line.trouble = [Trouble(PATCH, before=lambda: face.store(BUCKETS).put(VIDEOS, second, newer, "video/mp4"))]
    put(face.store(BUCKETS, line.url), late)
    store = face.store(BUCKETS)
    found = store.stat(VIDEOS, second)
    assert found is not None and found.sha256 == sha256(newer)
    assert store.list(VIDEOS, f"{USER}/{JOB}") == [PATH, second]  # the sweep removes objects that no row names


def test_leftovers_of_killed_writers_are_swept_once_old(face: Face, line: Line, video: Callable[[int], Path]) -> None:
    source, store = video(SMALL), face.store(BUCKETS, line.url)
    line.trouble = [Trouble("POST .*/object/move", times=99, answer=said("503 Service Unavailable"))]
    with pytest.raises(StorageUnavailable):
        put(store, source)
    assert store.list(VIDEOS) == [] and len(hidden(store)) == 1
    assert store.sweep_unfinished(datetime.now(UTC) - LATER) == 0
    assert store.sweep_unfinished(datetime.now(UTC) + LATER, dry_run=True) == 1
    assert store.sweep_unfinished(datetime.now(UTC) + LATER) == 1
    assert hidden(store) == []


def test_a_truncated_download_raises(face: Face, line: Line, video: Callable[[int], Path]) -> None:
    source = video(BIG)
    put(face.store(BUCKETS), source)
    half = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BIG + bytes(1000)
    store = face.store(BUCKETS, line.url)
    line.trouble = [Trouble("GET .*/object/authenticated/", times=99, answer=half)]
    with pytest.raises(StorageUnavailable):
        store.read(VIDEOS, PATH)
