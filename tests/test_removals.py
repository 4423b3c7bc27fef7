"""Outputs that a user deletes from their library are deleted from storage too, whatever fails on the way; nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from support import Clock, artifact, claim, executor, submit

from ourvidz.cli import doctor_services
from ourvidz.db import safety
from ourvidz.db.connection import Database
from ourvidz.db.objects import unnamed
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.removals import Remover
from ourvidz.storage.base import StorageUnavailable
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS

TYPE = "sdxl_image_fast"


class Shelf:
    """Objects in a folder store, and a finished job with an image and its thumbnail."""

    def __init__(self, database: Database, jobs: Jobs, user: str, root: Path) -> None:
        self.db, self.jobs, self.user, self.root = database, jobs, user, root
        self.store = FolderStore(root / "storage", BUCKETS)
        self.remover = Remover(database, self.store, all_here=True)
        submit(jobs, user)
        self.job = claim(jobs, executor(jobs))
        jobs.advance(self.job, "generation_started")
        self.paths = [self.output(self.job, "image", "png"), self.output(self.job, "thumbnail", "webp")]
        jobs.advance(self.job, "upload_started")
        for kind in ("image", "thumbnail"):
            jobs.artifact_uploaded(self.job, kind, 0, artifact(self.job, kind=kind)["sha256"])

    def output(self, job: Claim, kind: str, ending: str) -> str:
        made = artifact(job, kind=kind) | {"path": f"{self.user}/{job.job_id}/1-0.{ending}", "media_type": f"image/{ending}"}
        self.jobs.artifact_generated(job, made)
        return self.put(TYPE, made["path"])

    def put(self, bucket: str, path: str) -> str:
        file = self.root / f"file.{path.rpartition('.')[2]}"
        file.write_bytes(path.encode())
        self.store.put(bucket, path, file, {"png": "image/png", "webp": "image/webp", "mp4": "video/mp4"}[path.rpartition(".")[2]])
        return path

    def removed(self) -> None:
        self.db.rows("update public.artifacts set deleted_at = ourvidz.now() where job_id = %s", (self.job.job_id,))

    def left(self, bucket: str = TYPE) -> list[str]:
        return list(self.store.list(bucket))

    def waiting(self) -> list[dict[str, Any]]:
        return self.db.rows("select path, tries, next_at from ourvidz.removals order by path")


@pytest.fixture
def shelf(database: Database, jobs: Jobs, user: Callable[..., str], tmp_path: Path) -> Shelf:
    shelf = Shelf(database, jobs, user("premium"), tmp_path)
    jobs.complete(shelf.job)
    return shelf


def test_image_and_thumbnail_are_deleted_and_recorded(shelf: Shelf) -> None:
    other = shelf.put(TYPE, f"{shelf.user}/{shelf.job.job_id}/1-1.png")
    assert shelf.remover.round() == 0
    shelf.removed()
    assert shelf.remover.round() == 2 and shelf.left() == [other] and shelf.waiting() == []
    assert all(row["gone_at"] for row in shelf.db.rows("select gone_at from public.artifacts"))
    assert shelf.remover.round() == 0
    # If an executor that lost its job writes them again, the sweep deletes them.
    assert unnamed(shelf.db, TYPE, shelf.paths) == dict.fromkeys(shelf.paths, True)


def test_objects_already_deleted_by_the_browser_count_as_removed(shelf: Shelf) -> None:
    for path in shelf.paths:
        shelf.store.delete(TYPE, path)
    shelf.removed()
    assert shelf.remover.round() == 2 and shelf.waiting() == []


def test_an_unavailable_store_is_retried_later(shelf: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.removed()
    with monkeypatch.context() as away:
        away.setattr(shelf.store, "delete", lambda *_: (_ for _ in ()).throw(StorageUnavailable("away")))
        assert shelf.remover.round() == 0
    assert {row["tries"] for row in shelf.waiting()} == {1} and shelf.remover.round() == 0  # leased, or not yet due
    assert list(doctor_services.removals(shelf.db)) == []
    shelf.db.rows("update ourvidz.removals set tries = 3")
    (line,) = doctor_services.removals(shelf.db)
    assert line.state == "warn" and "2 objects not deleted after 3 tries, since 2025-07-07" in line.found
    clock.advance(299)
    assert shelf.remover.round() == 0
    clock.advance(2)
    assert shelf.remover.round() == 2 and shelf.left() == []


def test_a_kill_between_object_and_row_is_resumed(shelf: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.removed()
    real = shelf.db.rows

    class Killed(BaseException): ...

    def dies(query: str, *more: Any) -> Any:
        if "removals_done" in query:
            raise Killed
        return real(query, *more)

    with monkeypatch.context() as broken:
        broken.setattr(shelf.db, "rows", dies)
        with pytest.raises(Killed):
            shelf.remover.round()
    assert shelf.left() == [] and len(shelf.waiting()) == 2
    clock.advance(301)
    assert shelf.remover.round() == 2 and shelf.waiting() == []


def test_under_a_legal_hold_objects_are_kept_until_it_is_lifted(shelf: Shelf) -> None:
    shelf.removed()
    safety.hold_set(shelf.db, shelf.user, "court order", "test")
    assert shelf.remover.round() == 0 and len(shelf.left()) == 2
    safety.hold_lift(shelf.db, shelf.user, "test")
    assert shelf.remover.round() == 2 and shelf.left() == []


def test_removal_waits_for_a_running_job(database: Database, jobs: Jobs, user: Callable[..., str], tmp_path: Path) -> None:
    """A running job may still upload the object again, for example if the reply to its first upload was lost."""
    shelf = Shelf(database, jobs, user("premium"), tmp_path)
    shelf.removed()
    assert shelf.remover.round() == 0 and len(shelf.left()) == 2
    jobs.complete(shelf.job)
    assert shelf.remover.round() == 2


def test_each_removal_is_leased_to_one_remover(shelf: Shelf, superuser: psycopg.Connection[Any]) -> None:
    shelf.removed()
    with superuser.transaction(), shelf.db.transaction() as another:
        take = "select path from ourvidz.removals_lease(1, 300)"
        (first,) = superuser.execute(take).fetchall()
        another.exec_driver_sql("set local lock_timeout = '2s'")
        (second,) = another.exec_driver_sql(take).all()  # the other one, without waiting for the first
        assert {first[0], second[0]} == set(shelf.paths)


def test_an_object_missing_from_one_of_several_stores_stays_queued(shelf: Shelf, tmp_path: Path) -> None:
    shelf.removed()
    elsewhere = Remover(shelf.db, FolderStore(tmp_path / "another", BUCKETS), all_here=False)
    assert elsewhere.round() == 0 and len(shelf.waiting()) == 2 and len(shelf.left()) == 2


def image(shelf: Shelf, path: str, bucket: str | None = TYPE, **more: Any) -> str:
    sql = """insert into public.images (user_id, prompt, image_url, metadata, image_urls)
             values (%s, 'x', %s, jsonb_build_object('bucket', %s::text), %s) returning id::text"""
    (row,) = shelf.db.rows(sql, (more.get("user", shelf.user), path, bucket, more.get("urls")))
    return str(row["id"])


def test_deleting_a_legacy_row_deletes_its_objects(shelf: Shelf) -> None:
    one, two = (shelf.put("image_high", f"{shelf.user}/video_{n}.png") for n in (1, 2))
    rows = [image(shelf, one, "image_high", urls=f'["{one}", "{two}"]'), image(shelf, two, "image_high")]
    shelf.db.rows("delete from public.images where id = %s", (rows[0],))
    assert shelf.remover.round() == 1 and shelf.left("image_high") == [two]  # still used by the other row
    shelf.db.rows("delete from public.images where id = %s", (rows[1],))
    assert shelf.remover.round() == 1 and shelf.left("image_high") == []


def test_a_row_cannot_remove_objects_of_other_users(shelf: Shelf, user: Callable[..., str]) -> None:
    other = user()
    theirs, assets = shelf.put(TYPE, f"{other}/a.png"), shelf.put("system-assets", f"{shelf.user}/a.png")
    # An output is deleted with its own job's row only, even if no row refers to it.
    with shelf.db.transaction() as connection:
        connection.exec_driver_sql("alter table public.images disable trigger user")
        connection.exec_driver_sql("delete from public.images")
        connection.exec_driver_sql("alter table public.images enable trigger user")
    for path, bucket in ((theirs, TYPE), (f"{shelf.user}/../{theirs}", TYPE), (assets, "system-assets"), (theirs, None),
                         (shelf.paths[0], TYPE), (f"{shelf.user}/a.png", "nowhere"), (None, TYPE)):  # fmt: skip
        shelf.db.rows("delete from public.images where id = %s", (image(shelf, path, bucket),))  # type: ignore[arg-type]
    shelf.remover.round()
    assert shelf.left() == sorted([theirs, *shelf.paths]) and shelf.left("system-assets") == [assets] and shelf.waiting() == []


def test_deleting_a_project_deletes_its_objects(shelf: Shelf) -> None:
    film = shelf.put("video_fast", f"{shelf.user}/video_{uuid4()}.mp4")
    (project,) = shelf.db.rows("insert into public.projects (user_id, title) values (%s, 'x') returning id", (shelf.user,))
    with shelf.db.transaction() as connection:
        connection.exec_driver_sql("alter table public.videos disable trigger videos_guard_insert")
        connection.exec_driver_sql(
            'insert into public.videos (user_id, project_id, video_url, metadata) values (%s, %s, %s, \'{"bucket": "video_fast"}\')',
            (shelf.user, project["id"], film),
        )
        connection.exec_driver_sql("alter table public.videos enable trigger videos_guard_insert")
    shelf.db.rows("delete from public.projects")
    assert shelf.remover.round() == 1 and shelf.left("video_fast") == []
