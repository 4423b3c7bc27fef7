"""The folder adapter against the contract, and failures specific to folders: links, a full disk, a killed writer."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Mapping
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from waiting import LIMIT

from ourvidz.storage import folder
from ourvidz.storage.base import BucketLimit, ObjectExists, PathRefused, StorageError, StorageFull, StorageUnavailable, admit
from ourvidz.storage.folder import FolderStore

from .artifact_store import BUCKETS, IMAGES, MB, VIDEOS, ArtifactStoreContract, StoreFactory

spawn = multiprocessing.get_context("spawn")
PATH = "u/j/1-0.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "buckets 灯泡"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "picture"
    path.write_bytes(b"picture")
    return path


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root, BUCKETS)


def files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir())


class TestFolderStore(ArtifactStoreContract):
    @pytest.fixture
    def store_factory(self, root: Path) -> StoreFactory:
        def make(buckets: Mapping[str, BucketLimit]) -> FolderStore:
            return FolderStore(root, buckets)

        return make


def test_put_leaves_only_the_object_file(store: FolderStore, root: Path, source: Path) -> None:
    store.put(IMAGES, PATH, source, "image/png")
    assert files(root) == [f"{IMAGES}/{PATH}"]
    assert source.read_bytes() == b"picture"


def test_empty_folders_are_removed_after_delete(store: FolderStore, root: Path, source: Path) -> None:
    store.put(IMAGES, PATH, source, "image/png")
    store.put(IMAGES, "u/k/1-0.png", source, "image/png")
    store.delete(IMAGES, PATH)
    assert [p.name for p in (root / IMAGES / "u").iterdir()] == ["k"]
    store.delete(IMAGES, "u/k/1-0.png")
    assert list((root / IMAGES).iterdir()) == []


def test_symlinks_in_the_store_are_not_followed(store: FolderStore, root: Path, source: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "j").mkdir(parents=True)
    (outside / "j" / "1-0.png").write_bytes(b"not yours")
    (root / IMAGES).mkdir()
    (root / IMAGES / "u").symlink_to(outside)
    (root / IMAGES / "file.png").symlink_to(outside / "j" / "1-0.png")
    for path in (PATH, "file.png"):
        for call in (store.stat, store.read, store.open):
            with pytest.raises(PathRefused):
                call(IMAGES, path)
        with pytest.raises(PathRefused):
            store.put(IMAGES, path, source, "image/png")
    with pytest.raises(PathRefused):
        store.delete(IMAGES, PATH)
    with pytest.raises(PathRefused):
        store.list(IMAGES, "u")
    assert store.list(IMAGES) == []
    (root / VIDEOS).symlink_to(outside)
    with pytest.raises(PathRefused):
        store.list(VIDEOS)
    assert [p.read_bytes() for p in outside.rglob("*.png")] == [b"not yours"]


def test_paths_that_are_not_regular_files_are_refused(store: FolderStore, root: Path, source: Path) -> None:
    store.put(IMAGES, PATH, source, "image/png")
    os.mkfifo(root / IMAGES / "pipe.png")
    (root / IMAGES / ".DS_Store").write_bytes(b"?")
    for path in ("pipe.png", "u/j", f"{PATH}/1-0.png"):
        with pytest.raises(PathRefused):
            store.stat(IMAGES, path)
    assert store.list(IMAGES) == [PATH]


def test_a_missing_root_is_an_error(store: FolderStore, root: Path, source: Path) -> None:
    root.rename(root.with_name("elsewhere"))
    for call in (lambda: store.stat(IMAGES, PATH), lambda: store.list(IMAGES), lambda: store.put(IMAGES, PATH, source, "image/png")):
        with pytest.raises(StorageUnavailable) as raised:
            call()
        assert raised.value.retryable


# A full disk. ENOSPC needs privileges to provoke, so it is raised where the kernel would raise it, at a given byte; in the last of the
# three tests the kernel itself refuses, by a file size limit (EFBIG) in a child process.


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_disk_full_while_writing(store: FolderStore, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    source.write_bytes(bytes(3 * MB))
    write, room = os.write, [MB + 100]

    def short_of_room(fd: int, data: memoryview) -> int:
        if room[0] == 0:
            raise OSError(code, os.strerror(code))
        done = write(fd, data[: room[0]])  # like the kernel, first write what fits
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", short_of_room)
    with pytest.raises(StorageFull) as raised:
        store.put(IMAGES, PATH, source, "image/png")
    assert raised.value.retryable
    assert files(root) == []
    room[0] = 10 * MB
    assert store.put(IMAGES, PATH, source, "image/png").bytes == 3 * MB
    room[0] = 0
    assert store.put(IMAGES, PATH, source, "image/png").bytes == 3 * MB  # repeating a stored upload needs no space


@pytest.mark.parametrize("call", ["fsync", "link", "mkdir"])
def test_disk_full_during_fsync_link_or_mkdir(
    store: FolderStore, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(StorageFull):
            store.put(IMAGES, PATH, source, "image/png")
    assert files(root) == []
    store.put(IMAGES, PATH, source, "image/png")


def _put_with_small_files(root: Path, source: Path, said: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MB, 2 * MB))
    try:
        FolderStore(root, BUCKETS).put(IMAGES, PATH, source, "image/png")
    except StorageError as error:
        os.write(os.open(said, os.O_WRONLY), type(error).__name__.encode())


def test_a_write_that_the_kernel_refuses(root: Path, source: Path, tmp_path: Path) -> None:
    source.write_bytes(bytes(3 * MB))
    (said := tmp_path / "said").touch()
    child = spawn.Process(target=_put_with_small_files, args=(root, source, str(said)))
    child.start()
    child.join(LIMIT)
    assert said.read_text() == "StorageFull"
    assert files(root) == []


def test_a_rival_that_publishes_before_the_link_wins(
    store: FolderStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staged: the other writer publishes after this one has checked, and before it links."""
    rival, link = tmp_path / "rival", os.link
    rival.write_bytes(b"rival")

    def after_the_rival(*args: object, **more: object) -> None:
        monkeypatch.setattr(os, "link", link)
        store.put(IMAGES, PATH, rival, "image/png")
        link(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", after_the_rival)
    with pytest.raises(ObjectExists):
        store.put(IMAGES, PATH, source, "image/png")
    assert store.read(IMAGES, PATH) == b"rival"


def test_put_succeeds_if_its_empty_folder_is_removed_before_the_link(
    store: FolderStore, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def after_the_sweep(*args: object, **more: object) -> None:
        monkeypatch.setattr(os, "link", link)
        for empty in (root / IMAGES / "u" / "j", root / IMAGES / "u"):
            empty.rmdir()
        link(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", after_the_sweep)
    store.put(IMAGES, PATH, source, "image/png")
    assert store.read(IMAGES, PATH) == b"picture"


def _race(root: Path, source: Path, rounds: int, together: Barrier, answers: Callable[[object], None]) -> None:
    store, won = FolderStore(root, BUCKETS), []
    for n in range(rounds):
        together.wait(LIMIT)
        try:
            store.put(IMAGES, f"u/j/{n}-0.png", source, "image/png")
            won.append(n)
        except ObjectExists:
            pass
    answers(won)


def test_only_one_of_two_processes_wins(root: Path, tmp_path: Path) -> None:
    rounds, together, children, ends = 40, spawn.Barrier(2), [], []
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 5000)
        end, theirs = spawn.Pipe(duplex=False)
        child = spawn.Process(target=_race, args=(root, tmp_path / name, rounds, together, theirs.send))
        child.start()
        children.append(child)
        ends.append(end)
    assert all(end.poll(60) for end in ends)
    won: list[list[int]] = [end.recv() for end in ends]
    for child in children:
        child.join(LIMIT)
    assert sorted(won[0] + won[1]) == list(range(rounds))
    store = FolderStore(root, BUCKETS)
    for n in range(rounds):
        assert store.read(IMAGES, f"u/j/{n}-0.png") == (b"a" if n in won[0] else b"b") * 5000
    assert len(files(root)) == rounds


def _die_before_link(root: Path, source: Path) -> None:
    os.link = lambda *_a, **_m: os.kill(os.getpid(), signal.SIGKILL)  # only in the child, which dies
    FolderStore(root, BUCKETS).put(IMAGES, PATH, source, "image/png")


def test_a_killed_writers_leftover_is_invisible_and_swept(root: Path, source: Path) -> None:
    child = spawn.Process(target=_die_before_link, args=(root, source))
    child.start()
    child.join(LIMIT)
    assert child.exitcode == -signal.SIGKILL
    assert len(files(root)) == 1 and files(root)[0].startswith(".tmp/")
    store = FolderStore(root, BUCKETS)
    assert files(root) == []
    store.put(IMAGES, PATH, source, "image/png")


def test_a_running_writers_file_is_not_swept(root: Path, store: FolderStore, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def after_another_starts(*args: object, **more: object) -> None:
        FolderStore(root, BUCKETS)
        link(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", after_another_starts)
    store.put(IMAGES, PATH, source, "image/png")


def test_a_growing_source_is_still_limited(store: FolderStore, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def then_grow(*args: object) -> object:
        limit = admit(*args)  # type: ignore[arg-type]
        source.write_bytes(bytes(6 * MB))
        return limit

    monkeypatch.setattr(folder, "admit", then_grow)
    with pytest.raises(StorageError, match="over the limit"):
        store.put(IMAGES, PATH, source, "image/png")
    assert files(root) == []


@pytest.mark.parametrize("name", [".tmp", "..", "a/b", ""])
def test_bucket_names_that_are_not_one_plain_folder_are_refused(root: Path, name: str) -> None:
    with pytest.raises(PathRefused):
        FolderStore(root, {name: BUCKETS[IMAGES]})
