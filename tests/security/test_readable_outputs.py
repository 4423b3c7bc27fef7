"""Attacks on unpaid outputs: a user reads, lists, signs or deletes files of a job that is still uploading; their thumbnails; files of an
executor that lost the job; files that a screen refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from api import Api, api_of
from storage_site import Face
from support import Permissive, Server, artifact, claim, executor, new_user, submit

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.orphan_objects import orphans
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS

User = Callable[..., str]
KIND = "sdxl_image_fast"


@pytest.fixture
def api(server: Server, database_name: str, database: Database):  # type: ignore[no-untyped-def]
    with api_of(server, database_name) as found:
        yield found


def put(database: Database, made: dict[str, object]) -> None:
    """An executor's upload before it is reported: only the object exists."""
    database.rows("insert into storage.buckets (id, name) values (%(bucket)s, %(bucket)s) on conflict do nothing", made)
    database.rows("insert into storage.objects (bucket_id, name) values (%(bucket)s, %(path)s)", made)


def uploading(jobs: Jobs, user: str, images: int = 3) -> tuple[Claim, list[dict[str, object]]]:
    submit(jobs, user, KIND, settings={"images": images})
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    made = [artifact(job, n, part) for n in range(images) for part in ("image", "thumbnail")]
    for one in made:
        jobs.artifact_generated(job, one)
    jobs.advance(job, "upload_started")
    for one in made:
        put(jobs.db, one)
    return job, made


def count(jobs: Jobs, job: Claim, made: dict[str, object]) -> None:
    jobs.artifact_uploaded(job, str(made["kind"]), int(str(made["index"])), str(made["sha256"]))


def seen(api: Api, user: str) -> set[str]:
    return {r["name"] for r in api.rows("authenticated", user, "select name from storage.objects")}


def paths(*made: dict[str, object]) -> set[str]:
    return {str(one["path"]) for one in made}


def test_outputs_are_unreadable_until_reported_as_uploaded(database: Database, jobs: Jobs, user: User, api: Api) -> None:
    me = user()
    job, made = uploading(jobs, me)
    assert seen(api, me) == set()
    assert api.rows("authenticated", me, "select path from public.artifacts") == []
    assert api.rows("authenticated", me, "delete from storage.objects returning name") == []
    count(jobs, job, made[0])
    assert seen(api, me) == paths(made[0]) == {r["path"] for r in api.rows("authenticated", me, "select path from public.artifacts")}
    status = "select public.job_status(%s) as said"
    ((said,),) = (r.values() for r in api.rows("authenticated", me, status, (job.job_id,)))
    assert {a["path"] for a in said["assets"]} == paths(made[0]) and said["charge"] == {"delivered": 1, "charged": 0, "held": 3}
    jobs.cancel(job.job_id)
    jobs.honour_cancel(job)
    assert seen(api, me) == paths(made[0]), "what was delivered stays, the rest never comes"
    ((said,),) = (r.values() for r in api.rows("authenticated", me, status, (job.job_id,)))
    assert said["charge"] == {"delivered": 1, "charged": 1, "held": 0}
    assert seen(api, user()) == set()


def test_thumbnails_are_readable_only_with_their_picture(database: Database, jobs: Jobs, user: User, api: Api) -> None:
    """Thumbnails are uploaded before the first full picture, and cost nothing."""
    me = user()
    job, made = uploading(jobs, me)
    for one in made[1::2]:
        count(jobs, job, one)
    assert seen(api, me) == set()
    count(jobs, job, made[0])
    assert seen(api, me) == paths(*made[:2])


def test_uploads_of_a_lost_claim_are_unreadable(database: Database, jobs: Jobs, user: User, api: Api) -> None:
    me = user()
    _, made = uploading(jobs, me)
    jobs.executor_gone(database.rows("select executor_id::text as id from public.jobs")[0]["id"])
    job = claim(jobs, executor(jobs, "gpu1"))
    jobs.advance(job, "generation_started")
    again = artifact(job, 0, content="made elsewhere")
    jobs.artifact_generated(job, again)
    jobs.advance(job, "upload_started")
    put(database, again)
    count(jobs, job, again)
    assert seen(api, me) == paths(again), "the object of the first claim has another path, and no row names it"
    assert not paths(again) & paths(*made)


def test_outputs_of_a_refused_job_are_unreadable(database: Database, jobs: Jobs, user: User, api: Api) -> None:
    me = user()
    job, made = uploading(jobs, me)
    for one in made[:4]:
        count(jobs, job, one)
    jobs.fail(job, "refused_content", "No.", final=True)
    assert seen(api, me) == set() and api.rows("authenticated", me, "select path from public.artifacts") == []
    assert api.rows("authenticated", me, "select status from public.images where status = 'completed'") == []


def test_legacy_outputs_stay_readable_for_their_user(database: Database, user: User, api: Api) -> None:
    me, other = user(), user()
    old = {"bucket": KIND, "path": f"{me}/sdxl_4711_1.png"}
    put(database, old)
    put(database, {"bucket": KIND, "path": f"{me}/{me}/1-0.png"})  # a path like that of an output, but of no job
    assert seen(api, me) == paths(old) and seen(api, other) == set()


def test_urls_are_signed_only_for_delivered_outputs(standing_face: Face, tmp_path: Path) -> None:
    """Through the Storage API, as a front end requests: sign one, sign many, read, list."""
    face = standing_face
    face.clear(BUCKETS)
    with opened(face) as database:
        jobs = Jobs(database, Permissive(), patience=20)
        me = new_user(database)
        submit(jobs, me, KIND, settings={"images": 3})
        job = claim(jobs, executor(jobs))
        jobs.advance(job, "generation_started")
        made = [artifact(job, n) for n in range(3)]
        with face.client() as service:
            for one in made:
                jobs.artifact_generated(job, one)
                assert service.post(f"/object/{KIND}/{one['path']}", content=b"x", headers={"content-type": "image/png"}).status_code == 200
        jobs.advance(job, "upload_started")
        with face.client(face.secret.user(me)) as mine:
            for one in made:
                assert [answer.status_code for answer in asked(mine, str(one["path"]))] == [400, 400]
            count(jobs, job, made[1])
            jobs.cancel(job.job_id)
            jobs.honour_cancel(job)
            assert [[answer.status_code for answer in asked(mine, str(one["path"]))] for one in made] == [
                [400, 400],
                [200, 200],
                [400, 400],
            ]
            many = mine.post(f"/object/sign/{KIND}", json={"expiresIn": 60, "paths": [one["path"] for one in made]}).json()
            assert [bool(row["signedURL"]) for row in many] == [False, True, False]
            listed = mine.post(f"/object/list/{KIND}", json={"prefix": f"{me}/{job.job_id}", "limit": 100, "offset": 0}).json()
            assert [row["name"] for row in listed] == [str(made[1]["path"]).rpartition("/")[2]]


def asked(client: httpx.Client, path: str) -> list[httpx.Response]:
    return [client.get(f"/object/authenticated/{KIND}/{path}"), client.post(f"/object/sign/{KIND}/{path}", json={"expiresIn": 60})]


@contextmanager
def opened(face: Face):  # type: ignore[no-untyped-def]
    database = Database(face.database_url)
    yield database
    database.close()


def test_unreported_uploads_are_swept_after_the_end(database: Database, jobs: Jobs, user: User, tmp_path: Path) -> None:
    """It may still be reported while the job lives; after the end it is unreadable and an orphan."""
    store, source = FolderStore(tmp_path / "store", BUCKETS), tmp_path / "a.png"
    source.write_bytes(b"x")
    me = user()
    job, made = uploading(jobs, me)
    for index, one in enumerate(made):
        one["path"] = f"{me}/{job.job_id}/{job.claim_no}-{index}.png"
        database.rows(
            "update public.artifacts set path = %s where (job_id, kind, index) = (%s, %s, %s)",
            (one["path"], job.job_id, one["kind"], one["index"]),
        )
        store.put(KIND, str(one["path"]), source, "image/png")
    count(jobs, job, made[0])
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert list(orphans(database, store, soon)) == []
    jobs.cancel(job.job_id)
    jobs.honour_cancel(job)
    assert {o.path for o in orphans(database, store, soon)} == paths(*made[1:])
