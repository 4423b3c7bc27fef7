"""The spool: whole files or none, a host's own id, and executors sharing it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from executor_site import Site

from executors.spool import Spool, name_of


def recorded(spool: Spool, job_id: str, claim_no: int, content: bytes) -> dict[str, Any]:
    artifact = {"job_id": job_id, "kind": "image", "index": 0, "path": f"u/{job_id}/{claim_no}-0.png"}
    _, digest = spool.write(job_id, name_of(artifact), lambda path: path.write_bytes(content))
    return artifact | {"sha256": digest, "spool": spool.id}


def test_a_truncated_host_id_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("")  # a crash between creating the file and writing it
    one = Spool(tmp_path, 1)
    assert len(one.id) == 36
    assert Spool(tmp_path, 1).id == one.id


def test_executors_that_start_together_agree_on_the_id(tmp_path: Path) -> None:
    found: list[str] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        found.append(Spool(tmp_path, 1).id)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["id"]


def test_a_resumed_writer_does_not_affect_another_claim(tmp_path: Path) -> None:
    """Staged: the first claim's file is open and half written while the second claim writes and records its own."""
    spool = Spool(tmp_path, 10**9)
    second: list[dict[str, Any]] = []
    stale = {"job_id": "job", "kind": "image", "index": 0, "path": "u/job/1-0.png"}

    def slowly(path: Path) -> None:
        with path.open("wb") as file:
            file.write(b"first")
            file.flush()
            second.append(recorded(spool, "job", 2, b"the second claim's"))
            file.write(b" and more")

    spool.write("job", name_of(stale), slowly)
    found = spool.find(second[0])
    assert found is not None and found.read_bytes() == b"the second claim's"


def test_files_of_another_host_are_not_expected(tmp_path: Path) -> None:
    here, there = Spool(tmp_path / "here", 10**9), Spool(tmp_path / "there", 10**9)
    artifact = recorded(here, "job", 1, b"pixels")
    assert here.find(artifact) is not None
    assert there.find(artifact) is None


def test_over_the_limit_the_oldest_jobs_are_swept_first(tmp_path: Path) -> None:
    import os

    spool = Spool(tmp_path, 250)
    made = [recorded(spool, f"job{n}", 1, bytes(100)) for n in range(4)]
    for n in range(4):
        for file in (tmp_path / f"job{n}").iterdir():
            os.utime(file, (n, n))
    assert spool.sweep() == 2
    assert [spool.find(a) is not None for a in made] == [False, False, True, True]


def test_a_job_ending_during_a_sweep_causes_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, beside = Spool(tmp_path, 0), Spool(tmp_path, 10**9)
    for n in range(3):
        recorded(spool, f"job{n}", 1, b"pixels")
    listed = Path.iterdir

    def then_drop(self: Path) -> Any:
        if self.name == "job1":
            beside.drop("job1")
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", then_drop)
    assert spool.sweep() == 2


def test_swept_outputs_are_regenerated_identically(site: Site) -> None:
    """Swept between the check for existing outputs and their upload: the attempt fails, and the next one makes the same outputs."""
    job_id = site.submit("image7b_fast_enhanced")
    swept: list[str] = []

    def sweep(path: str) -> None:
        if not swept:
            swept.append(path)
            Spool(site.root / "second" / "spool", 0).sweep()

    site.store.trouble = sweep
    shelf = site.work(job_id)
    site.completed(job_id)
    assert len(shelf.wan.works) == 2
    assert shelf.wan.works[0].prompt == shelf.wan.works[1].prompt != ""
