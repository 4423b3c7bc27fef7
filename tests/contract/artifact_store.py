"""The contract of every artifact store. An adapter's tests inherit `ArtifactStoreContract` and provide a fixture `store_factory`:

    store_factory(buckets: Mapping[str, BucketLimit]) -> ArtifactStore

It may be called twice in one test; both stores then hold the same objects (two executors, one store).
"""

from __future__ import annotations

import hashlib
import threading
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from waiting import LIMIT

from ourvidz.storage.base import (
    ArtifactStore,
    BucketLimit,
    BucketMissing,
    MediaTypeRefused,
    ObjectExists,
    ObjectMissing,
    ObjectTooLarge,
    PathRefused,
    SourceLost,
    StorageError,
    Stored,
    object_path,
    thumbnail_path,
)

MB = 1 << 20
StoreFactory = Callable[[Mapping[str, BucketLimit]], ArtifactStore]
Make = Callable[[bytes], Path]


@dataclass(frozen=True)
class Limit:
    max_bytes: int
    media_types: frozenset[str]
    public: bool = False


BUCKETS: Mapping[str, BucketLimit] = {
    "sdxl_image_fast": Limit(5 * MB, frozenset({"image/png", "image/webp"})),
    "video_fast": Limit(100 * MB, frozenset({"video/mp4"})),
    "system-assets": Limit(1000, frozenset({"image/png"}), public=True),
}
IMAGES, VIDEOS, SMALL = BUCKETS
USER, JOB = str(uuid4()), str(uuid4())

# Paths that climb, are hidden, end early or have a second spelling.
HOSTILE_PATHS = [
    "", "/", "/etc/passwd", "..", "../a.png", "a/../b.png", "a/./b.png", "a//b.png", "a/", "/a.png", "a\0.png", "a\\b.png",
    "..\\a.png", ".hidden/a.png", ".tmp/a.png", "a\n.png", "~/a.png", "a%2e%2e/b.png", "C:a.png", "-rf.png", "a?b.png", "a#b.png",
    "a b.png", "á.png", "a\u0301.png", "灯泡.png", "a\u202egnp.png", "\ud800.png", "a/" * 200 + "a.png", "a" * 300 + ".png",
]  # fmt: skip


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class ArtifactStoreContract:
    @pytest.fixture
    def store(self, store_factory: StoreFactory) -> ArtifactStore:
        return store_factory(BUCKETS)

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        folder = tmp_path / "spool, 灯泡 é"  # the executor's own path may be anything
        folder.mkdir()

        def write(content: bytes) -> Path:
            path = folder / f"{uuid4()}.part"
            path.write_bytes(content)
            return path

        return write

    def test_put_then_read(self, store: ArtifactStore, make: Make) -> None:
        path = object_path(USER, JOB, 1, 0, "png")
        stored = store.put(IMAGES, path, make(b"picture"), "image/png")
        assert stored == Stored(IMAGES, path, 7, sha256(b"picture"), "image/png")
        assert store.stat(IMAGES, path) == stored
        assert store.read(IMAGES, path) == b"picture"
        with store.open(IMAGES, path) as file:
            assert (file.read(3), file.read()) == (b"pic", b"ture")

    def test_a_second_store_sees_the_same_objects(self, store: ArtifactStore, store_factory: StoreFactory, make: Make) -> None:
        stored = store.put(IMAGES, "u/j/1-0.png", make(b"picture"), "image/png")
        assert store_factory(BUCKETS).stat(IMAGES, "u/j/1-0.png") == stored

    def test_buckets_returns_the_configured_buckets(self, store: ArtifactStore) -> None:
        assert dict(store.buckets()) == dict(BUCKETS)

    def test_unknown_buckets_are_listed_and_can_be_cleared(self, store: ArtifactStore, store_factory: StoreFactory, make: Make) -> None:
        assert {IMAGES, SMALL}.isdisjoint(store.others())  # a project may have buckets that other tests made
        whole = store_factory(BUCKETS)
        whole.put(SMALL, f"{USER}/one.png", make(b"one"), "image/png")
        fewer = store_factory({IMAGES: BUCKETS[IMAGES]})
        assert SMALL in fewer.others() and IMAGES not in fewer.others()
        assert fewer.list(SMALL, USER) == [f"{USER}/one.png"] and fewer.clear(SMALL, USER) == 1 and whole.list(SMALL, USER) == []
        with pytest.raises(BucketMissing):
            fewer.put(SMALL, f"{USER}/two.png", make(b"two"), "image/png")
        for missing in (lambda: fewer.list("nowhere"), lambda: fewer.clear("nowhere", USER)):
            with pytest.raises(BucketMissing):
                missing()

    def test_move_leaves_one_object_and_is_idempotent(self, store: ArtifactStore, make: Make) -> None:
        store.put(IMAGES, "u/j/1-0.png", make(b"one"), "image/png")
        assert store.move(IMAGES, "u/j/1-0.png", VIDEOS, f"u/{IMAGES}/j/1-0.png")
        assert store.stat(IMAGES, "u/j/1-0.png") is None and store.read(VIDEOS, f"u/{IMAGES}/j/1-0.png") == b"one"
        assert not store.move(IMAGES, "u/j/1-0.png", VIDEOS, f"u/{IMAGES}/j/1-0.png")
        store.put(IMAGES, "u/j/1-0.png", make(b"two"), "image/png")
        with pytest.raises(ObjectExists):
            store.move(IMAGES, "u/j/1-0.png", VIDEOS, f"u/{IMAGES}/j/1-0.png")
        assert store.read(IMAGES, "u/j/1-0.png") == b"two" and store.read(VIDEOS, f"u/{IMAGES}/j/1-0.png") == b"one"
        with pytest.raises(BucketMissing):
            store.move(IMAGES, "u/j/1-0.png", "nowhere", "u/a.png")
        for path in ("../a.png", ".tmp/a.png"):
            with pytest.raises(PathRefused):
                store.move(IMAGES, "u/j/1-0.png", VIDEOS, path)

    def test_the_same_path_in_two_buckets_is_two_objects(self, store: ArtifactStore, make: Make) -> None:
        store.put(IMAGES, "a.png", make(b"one"), "image/png")
        store.put(SMALL, "a.png", make(b"two"), "image/png")
        assert (store.read(IMAGES, "a.png"), store.read(SMALL, "a.png")) == (b"one", b"two")

    def test_a_retried_upload_succeeds(self, store: ArtifactStore, make: Make) -> None:
        first = store.put(IMAGES, "u/j/1-0.png", make(b"picture"), "image/png")
        assert store.put(IMAGES, "u/j/1-0.png", make(b"picture"), "image/png") == first

    def test_nothing_is_overwritten(self, store: ArtifactStore, make: Make) -> None:
        store.put(IMAGES, "u/j/1-0.png", make(b"picture"), "image/png")
        with pytest.raises(ObjectExists) as raised:
            store.put(IMAGES, "u/j/1-0.png", make(b"another"), "image/png")
        assert not raised.value.retryable
        assert store.read(IMAGES, "u/j/1-0.png") == b"picture"

    def test_stale_and_newer_claim_write_separate_objects(self, store: ArtifactStore, make: Make) -> None:
        stale, newer = (object_path(USER, JOB, claim_no, 0, "png") for claim_no in (1, 2))
        store.put(IMAGES, newer, make(b"newer"), "image/png")
        store.put(IMAGES, stale, make(b"stale, late"), "image/png")
        assert store.read(IMAGES, newer) == b"newer"
        assert store.read(IMAGES, stale) == b"stale, late"
        store.delete(IMAGES, stale)  # the sweep
        assert store.list(IMAGES, f"{USER}/{JOB}") == [newer]

    def test_a_thumbnail_is_stored_next_to_its_image(self, store: ArtifactStore, make: Make) -> None:
        image, thumbnail = object_path(USER, JOB, 3, 5, "png"), thumbnail_path(USER, JOB, 3, 5)
        store.put(IMAGES, image, make(b"image"), "image/png")
        stored = store.put(IMAGES, thumbnail, make(b"small"), "image/webp")
        assert stored.media_type == "image/webp"
        assert store.list(IMAGES) == [image, thumbnail]

    @pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False)])
    def test_the_limit_is_exact(self, store: ArtifactStore, make: Make, size: int, fits: bool) -> None:
        if fits:
            assert store.put(SMALL, "a.png", make(bytes(size)), "image/png").bytes == size
            return
        with pytest.raises(ObjectTooLarge) as raised:
            store.put(SMALL, "a.png", make(bytes(size)), "image/png")
        assert (raised.value.size, raised.value.limit, raised.value.bucket) == (size, 1000, SMALL)
        for said in ("1,001", "1,000", SMALL):
            assert said in str(raised.value)
        assert store.stat(SMALL, "a.png") is None

    @pytest.mark.parametrize(
        ("path", "media_type"),
        [
            ("a.mp4", "video/mp4"),  # the bucket does not allow it
            ("a.mp4", "image/png"),  # contradicts the file name
            ("a.png", "image/webp"),
            ("a.PNG", "image/png"),
            ("a", "image/png"),
            ("a.png", "image/png; charset=utf-8"),
            ("a.png", "IMAGE/PNG"),
            ("a.png", ""),
            ("a.bin", "application/octet-stream"),
        ],
    )
    def test_a_wrong_type_is_refused(self, store: ArtifactStore, make: Make, path: str, media_type: str) -> None:
        with pytest.raises(MediaTypeRefused):
            store.put(IMAGES, path, make(b"picture"), media_type)
        assert store.list(IMAGES) == []

    def test_a_missing_bucket_raises(self, store: ArtifactStore, make: Make) -> None:
        for call in (
            lambda: store.put("nowhere", "a.png", make(b"picture"), "image/png"),
            lambda: store.stat("nowhere", "a.png"),
            lambda: store.open("nowhere", "a.png"),
            lambda: store.read("../" + IMAGES, "a.png"),
            lambda: store.list("nowhere"),
            lambda: store.delete("", "a.png"),
            lambda: store.entries("nowhere"),
            lambda: store.sign("nowhere", "a.png", 60),
        ):
            with pytest.raises(BucketMissing):
                call()

    def test_a_missing_object_raises(self, store: ArtifactStore) -> None:
        assert store.stat(IMAGES, "u/j/1-0.png") is None
        assert store.delete(IMAGES, "u/j/1-0.png") is False
        assert store.list(IMAGES) == store.list(IMAGES, "u") == []
        for call in (store.open, store.read):
            with pytest.raises(ObjectMissing):
                call(IMAGES, "u/j/1-0.png")

    def test_a_missing_source_file_raises(self, store: ArtifactStore, make: Make, tmp_path: Path) -> None:
        for source in (make(b""), tmp_path / "missing", tmp_path):
            with pytest.raises(SourceLost) as raised:
                store.put(IMAGES, "a.png", source, "image/png")
            assert raised.value.retryable
        assert store.stat(IMAGES, "a.png") is None

    def test_delete_removes_one_object(self, store: ArtifactStore, make: Make) -> None:
        for path in ("u/j/1-0.png", "u/j/1-1.png"):
            store.put(IMAGES, path, make(path.encode()), "image/png")
        assert store.delete(IMAGES, "u/j/1-0.png") is True
        assert store.delete(IMAGES, "u/j/1-0.png") is False
        assert store.list(IMAGES) == ["u/j/1-1.png"]
        store.put(IMAGES, "u/j/1-0.png", make(b"put again"), "image/png")
        assert store.read(IMAGES, "u/j/1-0.png") == b"put again"

    def test_clear_deletes_only_the_given_folder(self, store: ArtifactStore, make: Make) -> None:
        for path in ("user/a/1.png", "user/b.png", "user-2/a.png", "other/user/a.png"):
            store.put(IMAGES, path, make(path.encode()), "image/png")
        assert store.clear(IMAGES, "user") == 2
        assert store.list(IMAGES) == ["other/user/a.png", "user-2/a.png"]
        assert store.clear(IMAGES, "user") == 0
        with pytest.raises(BucketMissing):
            store.clear("nowhere", "user")
        with pytest.raises(PathRefused):
            store.clear(IMAGES, "../user")

    def test_list_matches_whole_path_segments(self, store: ArtifactStore, make: Make) -> None:
        paths = ["u1/j/1-0.png", "u1/j/2-0.png", "u1/k/1-0.png", "u10/j/1-0.png"]
        for path in reversed(paths):
            store.put(IMAGES, path, make(b"picture"), "image/png")
        assert store.list(IMAGES) == paths
        assert store.list(IMAGES, "u1") == store.list(IMAGES, "u1/") == paths[:3]
        assert store.list(IMAGES, "u1/j") == paths[:2]
        assert store.list(VIDEOS) == []

    def test_entries_have_size_and_time(self, store: ArtifactStore, make: Make) -> None:
        began = datetime.now(UTC) - timedelta(seconds=2)  # a file system's clock may be coarse
        store.put(IMAGES, "u1/j/1-0.png", make(b"picture"), "image/png")
        store.put(IMAGES, "u2/j/1-0.png", make(b"another"), "image/png")
        (entry,) = store.entries(IMAGES, "u1")
        assert (entry.path, entry.bytes) == ("u1/j/1-0.png", 7)
        assert began < entry.written < datetime.now(UTC) + timedelta(seconds=2)
        assert sorted(e.path for e in store.entries(IMAGES)) == ["u1/j/1-0.png", "u2/j/1-0.png"]

    def test_a_signed_url_needs_no_key(self, store: ArtifactStore, make: Make) -> None:
        store.put(IMAGES, "u/j/1-0.png", make(b"picture"), "image/png")
        with urlopen(store.sign(IMAGES, "u/j/1-0.png", 60), timeout=LIMIT) as answer:
            assert answer.read() == b"picture"
        with pytest.raises(ObjectMissing):
            store.sign(IMAGES, "u/j/2-0.png", 60)

    def test_sweep_unfinished_deletes_no_finished_object(self, store: ArtifactStore, make: Make) -> None:
        store.put(IMAGES, "u/j/1-0.png", make(b"picture"), "image/png")
        assert store.sweep_unfinished(datetime.now(UTC) + timedelta(days=1)) == 0
        assert store.read(IMAGES, "u/j/1-0.png") == b"picture"

    @pytest.mark.parametrize("path", HOSTILE_PATHS)
    def test_hostile_paths_are_refused(self, store: ArtifactStore, make: Make, path: str) -> None:
        for call in (
            lambda: store.put(IMAGES, path, make(b"picture"), "image/png"),
            lambda: store.stat(IMAGES, path),
            lambda: store.open(IMAGES, path),
            lambda: store.delete(IMAGES, path),
            lambda: store.sign(IMAGES, path, 60),
        ):
            with pytest.raises(PathRefused):
                call()
        if path not in ("", "a/"):  # the root folder, and a folder with its slash
            with pytest.raises(PathRefused):
                store.list(IMAGES, path)
            with pytest.raises(PathRefused):
                store.entries(IMAGES, path)

    # The examples share one store on purpose: none may find an object or damage it.
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])
    @given(path=some.text(max_size=300) | some.lists(some.sampled_from(["..", ".", "", "a", ".tmp", "\\", "\0", "é"])).map("/".join))
    def test_any_path_is_refused_or_missing(self, store: ArtifactStore, path: str) -> None:
        with suppress(PathRefused):
            assert store.stat(IMAGES, path) is None

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.differing_executors])  # one for each adapter
    @given(
        user=some.text(),
        claim_no=some.integers(-5, 10**6),
        index=some.integers(-5, 10),
        ext=some.sampled_from(["png", "PNG", "exe", "", "p/ng"]),
    )
    def test_object_paths_are_safe_or_refused(self, user: str, claim_no: int, index: int, ext: str) -> None:
        try:
            path = object_path(user, JOB, claim_no, index, ext)
        except StorageError as error:
            assert isinstance(error, PathRefused)
        else:
            assert path == f"{user}/{JOB}/{claim_no}-{index}.png" and path.isascii() and path.count("/") == 2 and "/." not in f"/{path}"

    def test_a_big_file_is_streamed(self, store: ArtifactStore, tmp_path: Path) -> None:
        source, chunk = tmp_path / "big", b"ourvidz " * (MB // 8)
        with source.open("wb") as file:
            for _ in range(64):
                file.write(chunk)
        tracemalloc.start()
        try:
            stored = store.put(VIDEOS, "u/j/1-0.mp4", source, "video/mp4")
            with store.open(VIDEOS, "u/j/1-0.mp4") as opened:
                while opened.read(MB):
                    pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert stored.bytes == 64 * MB
        assert stored.sha256 == sha256(chunk * 64)
        assert peak < 20 * MB  # Supabase's resumable uploads go in chunks of 6 MB

    def test_only_one_of_many_concurrent_writers_wins(self, store_factory: StoreFactory, make: Make) -> None:
        contents = [bytes([65 + n]) * 50_000 for n in range(6)]
        sources, stores = [make(c) for c in contents], [store_factory(BUCKETS) for _ in contents]
        together, results = threading.Barrier(6), ["?"] * 6

        def write(n: int) -> None:
            together.wait(LIMIT)
            try:
                results[n] = stores[n].put(IMAGES, "u/j/1-0.png", sources[n], "image/png").sha256
            except ObjectExists:
                results[n] = "exists"

        threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        (winner,) = (n for n in range(6) if results[n] == sha256(contents[n]))
        assert results.count("exists") == 5
        assert store_factory(BUCKETS).read(IMAGES, "u/j/1-0.png") == contents[winner]

    def test_concurrent_puts_of_the_same_file_all_succeed(self, store_factory: StoreFactory, make: Make) -> None:
        source, together, results = make(b"picture" * 10_000), threading.Barrier(6), []

        def write() -> None:
            store = store_factory(BUCKETS)
            together.wait(LIMIT)
            results.append(store.put(IMAGES, "u/j/1-0.png", source, "image/png"))

        threads = [threading.Thread(target=write) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        assert len(results) == 6 and len(set(results)) == 1
