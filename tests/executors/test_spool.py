"""The spool: whole files or none, an id that is one host's, and executors side by side in it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from site_of import Site

from executors.spool import Spool, name_of


def recorded(spool: Spool, job_id: str, claim_no: int, content: bytes) -> dict[str, Any]:
    artifact = {"job_id": job_id, "kind": "image", "index": 0, "path": f"u/{job_id}/{claim_no}-0.png"}
    _, digest = spool.write(job_id, name_of(artifact), lambda path: path.write_bytes(content))
    return artifact | {"sha256": digest, "spool": spool.id}


def test_an_id_cut_short_is_drawn_anew(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("")  # a crash between making the file and writing it
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


def test_a_stopped_writer_that_wakes_up_harms_no_other_claim(tmp_path: Path) -> None:
    """Staged: the first claim's writer has its file open and half written while the second claim's writes, records and is believed."""
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


def test_what_another_host_wrote_is_not_looked_for(tmp_path: Path) -> None:
    here, there = Spool(tmp_path / "here", 10**9), Spool(tmp_path / "there", 10**9)
    artifact = recorded(here, "job", 1, b"pixels")
    assert here.find(artifact) is not None
    assert there.find(artifact) is None


def test_the_oldest_jobs_go_first_when_it_is_over_its_limit(tmp_path: Path) -> None:
    import os

    spool = Spool(tmp_path, 250)
    made = [recorded(spool, f"job{n}", 1, bytes(100)) for n in range(4)]
    for n in range(4):
        for file in (tmp_path / f"job{n}").iterdir():
            os.utime(file, (n, n))
    assert spool.sweep() == 2
    assert [spool.find(a) is not None for a in made] == [False, False, True, True]


def test_a_job_that_ends_during_a_sweep_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_outputs_that_were_swept_are_made_again_with_their_references_and_prompt(site: Site) -> None:
    """Swept between the look at what is there and its upload: the attempt fails, and the next makes it as the first would have."""
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
