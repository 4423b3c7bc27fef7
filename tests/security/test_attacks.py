# ruff: noqa: E501  (one attack a line)
"""Attacks by each role on a running project: anon, a plain user, a suspended user, an admin's JWT, the service key, logins of an analyst,
an executor, the intake and a deliverer, Upstash's token, another account on the host, a reporter without an account.

An HTTP request is one row of REQUESTS, a statement by a login one row of STATEMENTS. None may change anything (SNAPSHOT) or return the
victim's data.
"""

from __future__ import annotations

import base64
import hmac
import json
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from logins import login
from stack_fixtures import Project, User
from support import Permissive, Server, artifact, claim, executor, finish, submit, wait_for_lock
from waiting import LIMIT

from ourvidz.erasure import Eraser
from ourvidz.intake.drain import Drainer
from ourvidz.intake.message import QUEUES
from ourvidz.intake.upstash import Upstash
from ourvidz.lifecycle import Jobs
from ourvidz.storage.supabase import SupabaseStorage
from state.catalog import BUCKETS

MARK = "zanzibar"
"""Contained in each of the victim's texts."""
PNG = {"content-type": "image/png"}
MERGE = {"Prefer": "resolution=merge-duplicates,return=representation"}
TOLD = {"Prefer": "return=representation"}
DRY = {"Prefer": "tx=rollback,return=representation"}
COUNT = {"Prefer": "count=exact"}
NOBODY = "00000000-0000-4000-8000-000000000000"

SNAPSHOT = """
  select (select jsonb_agg(to_jsonb(p) - 'last_login' order by id) from public.profiles as p) as profiles,
         (select jsonb_agg(to_jsonb(j) order by id) from public.jobs as j) as jobs,
         (select jsonb_agg(to_jsonb(p) order by job_id) from public.job_payloads as p) as payloads,
         (select count(*) from public.job_events) as events,
         (select jsonb_agg(to_jsonb(i) order by id) from public.images as i) as images,
         (select jsonb_agg(to_jsonb(a) order by job_id, index, kind) from public.artifacts as a) as artifacts,
         (select jsonb_agg(to_jsonb(p) order by id) from public.projects as p) as projects,
         (select jsonb_agg(to_jsonb(c) order by id) from public.consents as c) as consents,
         (select jsonb_agg(to_jsonb(r) order by id) from public.user_roles as r) as roles,
         (select jsonb_agg(to_jsonb(s) order by id) from ourvidz.suspensions as s) as suspensions,
         (select jsonb_agg(to_jsonb(t) order by subject) from ourvidz.takedowns as t) as takedowns,
         (select count(*) from ourvidz.token_entries) as entries,
         (select count(*) from ourvidz.text_reads) as reads,
         (select count(*) from ourvidz.executors) as executors,
         (select count(*) from public.usage_logs) as usage,
         (select count(*) from ourvidz.enhancement_requests) as dialogs,
         (select jsonb_agg(jsonb_build_array(bucket_id, name) order by bucket_id, name) from storage.objects) as objects,
         (select jsonb_agg(jsonb_build_array(id, public) order by id) from storage.buckets) as buckets,
         (select jsonb_agg(jsonb_build_array(role, raw_app_meta_data) order by id) from auth.users) as logins,
         (select count(*) from ourvidz.taken_objects) as taken
"""


@dataclass(frozen=True)
class Scene:
    project: Project
    people: dict[str, User]
    names: dict[str, str]

    def token(self, role: str) -> str | None:
        if role == "service":
            return self.project.service_key
        return self.people[role].token if role in self.people else None

    def filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.filled(key): self.filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if not isinstance(value, str):
            return value
        for name, given in self.names.items():
            value = value.replace("{" + name + "}", given)
        return value


@pytest.fixture(scope="module")
def scene(project: Project) -> Scene:
    """The victim has a finished job with an output in its bucket, a waiting job, a project, an attested picture and a role."""
    db = project.database
    jobs = Jobs(db, Permissive(), patience=20)
    people = {"user": project.user(), "suspended": project.user(), "admin": project.user(admin=True), "victim": project.user()}
    victim = people["victim"].id
    submit(jobs, victim, prompt=f"a pier, {MARK}")
    done = claim(jobs, executor(jobs))
    finish(jobs, done)
    waiting = submit(jobs, victim, prompt=f"a gate, {MARK}", idempotency_key="monday")
    submit(jobs, people["suspended"].id)
    db.rows("insert into public.user_roles (user_id, role) values (%s, 'admin')", (people["admin"].id,))
    (scene_project,) = db.rows("insert into public.projects (user_id, title) values (%s, %s) returning id", (victim, MARK))
    (image,) = db.rows("select id from public.images where job_id = %s", (done.job_id,))
    output = artifact(done)
    with project.client(project.service_key) as client:
        for bucket in (output["bucket"], "reference_images", "quarantine"):
            client.post("/storage/v1/bucket", json={"name": bucket, "public": False})  # some exist already
        for bucket, path in ((output["bucket"], output["path"]), ("reference_images", f"{victim}/face.png")):
            client.post(f"/storage/v1/object/{bucket}/{path}", content=b"\x89PNG" + MARK.encode(), headers=PNG).raise_for_status()
    db.rows("select ourvidz.suspend(%s, 'abuse', 'person:op')", (people["suspended"].id,))
    (held,) = db.rows("select id from ourvidz.suspensions where user_id = %s", (people["suspended"].id,))
    names = {
        "suspension": str(held["id"]),
        "victim": victim, "done": done.job_id, "waiting": waiting, "project": str(scene_project["id"]), "image": str(image["id"]),
        "bucket": output["bucket"], "path": output["path"], "none": NOBODY, "user": people["user"].id,
        "suspended": people["suspended"].id, "admin": people["admin"].id,
    }  # fmt: skip
    return Scene(project, people, names)


Request = tuple[str, str, Any, dict[str, str]]
JOB = {"job_type": "sdxl_image_fast", "prompt": "a pier"}
REQUESTS: dict[str, Request] = {
    # -- anon
    "anon: whose job, by the text of an error": ("POST", "rest/v1/rpc/job_status", {"job_id": "{done}"}, {}),
    "anon: files a report past the function": ("POST", "rest/v1/rpc/file_report", {"id": "{none}", "category": "minor", "source": "a", "output": "{done}"}, {}),
    "anon: who is an admin": ("POST", "rest/v1/rpc/has_role", {"_user_id": "{admin}", "_role": "admin"}, {}),
    "anon: lists a bucket": ("POST", "storage/v1/object/list/{bucket}", {"prefix": "{victim}"}, {}),
    "anon: an output as if its bucket were public": ("GET", "storage/v1/object/public/{bucket}/{path}", None, {}),
    "anon: signs an output": ("POST", "storage/v1/object/sign/{bucket}/{path}", {"expiresIn": 600}, {}),
    "anon: Auth's list of users": ("GET", "auth/v1/admin/users", None, {}),
    "anon: the plan of a query": ("GET", "rest/v1/jobs?select=*", None, {"Accept": "application/vnd.pgrst.plan+json; options=analyze"}),
    # -- user
    "user: embedded texts": ("GET", "rest/v1/jobs?select=*,job_payloads(*),artifacts(*),job_events(*)&user_id=eq.{victim}", None, {}),
    "user: embedded from the other end": ("GET", "rest/v1/profiles?select=*,jobs(*),projects(*),images(*)&id=eq.{victim}", None, {}),
    "user: an inner join filters by another's text": ("GET", "rest/v1/artifacts?select=*,jobs!inner(id,job_payloads!inner(prompt))&jobs.job_payloads.prompt=like.*zan*", None, {}),
    "user: the timeline's view": ("GET", "rest/v1/job_timeline?job_id=eq.{done}", None, {}),
    "user: aggregates": ("GET", "rest/v1/images?select=prompt.max(),user_id.count()", None, {}),
    "user: an exact count": ("GET", "rest/v1/jobs?select=id&user_id=eq.{victim}", None, COUNT),
    "user: a private schema": ("GET", "rest/v1/token_entries", None, {"Accept-Profile": "ourvidz"}),
    "user: the catalog as a schema": ("GET", "rest/v1/pg_stats", None, {"Accept-Profile": "pg_catalog"}),
    "user: a large object by rpc": ("POST", "rest/v1/rpc/lo_create", {"": 0}, {"Content-Profile": "pg_catalog"}),
    "user: storage's own tables": ("GET", "rest/v1/objects?select=*", None, {"Accept-Profile": "storage"}),
    "user: takes over a project by an upsert": ("POST", "rest/v1/projects?on_conflict=id", {"id": "{project}", "user_id": "{user}", "title": "mine"}, MERGE),
    "user: takes over a picture's row by an upsert": ("POST", "rest/v1/images?on_conflict=id", {"id": "{image}", "user_id": "{user}", "status": "completed"}, MERGE),
    "user: takes over a job by an upsert": ("POST", "rest/v1/jobs?on_conflict=id", {"id": "{waiting}", "user_id": "{user}", "job_type": "image_fast"}, MERGE),
    "user: patches all jobs and reads what changed": ("PATCH", "rest/v1/jobs?id=eq.{waiting}", {"status": "cancelled"}, TOLD),
    "user: filters a patch by another's text": ("PATCH", "rest/v1/projects?title=like.*zan*", {"title": "x"}, TOLD | COUNT),
    "user: deletes another's picture": ("DELETE", "rest/v1/images?id=eq.{image}", None, TOLD),
    "user: gives tokens, rolled back": ("PATCH", "rest/v1/profiles?id=eq.{user}", {"token_balance": 5}, DRY),
    "user: a row for another's job": ("POST", "rest/v1/images", {"user_id": "{user}", "job_id": "{done}", "status": "completed", "prompt": "x"}, TOLD),
    "user: a picture in another's project": ("POST", "rest/v1/images", {"user_id": "{user}", "project_id": "{project}", "prompt": "x"}, TOLD),
    "user: a scene in another's project": ("POST", "rest/v1/scenes", {"project_id": "{project}", "scene_number": 1, "description": "x"}, TOLD),
    "user: a job in another's project": ("POST", "rest/v1/rpc/queue_job", JOB | {"project_id": "{project}"}, {}),
    "user: a job for another's picture": ("POST", "rest/v1/rpc/queue_job", JOB | {"image_id": "{image}"}, {}),
    "user: a dry run names another's project": ("POST", "rest/v1/rpc/queue_job", JOB | {"project_id": "{project}", "dry_run": True}, {}),
    "user: a job with another's picture as reference": ("POST", "rest/v1/rpc/queue_job", JOB | {"metadata": {"reference_image_url": "{victim}/face.png"}}, {}),
    "user: another's user id inside metadata": ("POST", "rest/v1/rpc/queue_job", JOB | {"metadata": {"user_id": "{victim}"}, "user_id": "{victim}"}, {}),
    "user: cancels another's job": ("POST", "rest/v1/rpc/cancel_job", {"job_id": "{waiting}"}, {}),
    "user: retries another's job": ("POST", "rest/v1/rpc/retry_job", {"job_id": "{done}"}, {}),
    "user: reads a prompt": ("POST", "rest/v1/rpc/read_prompt", {"job_id": "{done}", "reason": "curious"}, {}),
    "user: approves another's preview": ("POST", "rest/v1/rpc/approve_preview", {"project_id": "{project}"}, {}),
    "user: moderates": ("POST", "rest/v1/rpc/moderate", {"verb": "hide", "output": "{image}"}, {}),
    "user: the queue of reports": ("POST", "rest/v1/rpc/report_queue", {}, {}),
    "user: an admin's role in the table": ("POST", "rest/v1/user_roles", {"user_id": "{user}", "role": "admin"}, {}),
    "user: an admin's role by Auth": ("PUT", "auth/v1/user", {"app_metadata": {"role": "admin"}, "role": "service_role"}, {}),
    "user: copies another's output": ("POST", "storage/v1/object/copy", {"bucketId": "{bucket}", "sourceKey": "{path}", "destinationBucket": "reference_images", "destinationKey": "{user}/got.png"}, {}),
    "user: moves another's reference": ("POST", "storage/v1/object/move", {"bucketId": "reference_images", "sourceKey": "{victim}/face.png", "destinationKey": "{user}/face.png"}, {}),
    "user: climbs out of a folder": ("POST", "storage/v1/object/reference_images/{user}/..%2f{victim}/face.png", b"\x89PNG", PNG),
    "user: a folder whose name looks the same": ("POST", "storage/v1/object/reference_images/{victim}\u200b/face.png".replace("\u200b", "%E2%80%8B"), b"\x89PNG", PNG),
    "user: a folder in full-width signs": ("POST", "storage/v1/object/reference_images/{victim}%EF%BC%8Fx.png", b"\x89PNG", PNG),
    "user: replaces another's reference": ("PUT", "storage/v1/object/reference_images/{victim}/face.png", b"\x89PNG", PNG),
    "user: an upload signed for another's folder": ("POST", "storage/v1/object/upload/sign/reference_images/{victim}/new.png", {}, {}),
    "user: lists the quarantine": ("POST", "storage/v1/object/list/quarantine", {"prefix": ""}, {}),
    "user: writes into the quarantine": ("POST", "storage/v1/object/quarantine/{user}/a.png", b"\x89PNG", PNG),
    "user: another's output through the image service": ("GET", "storage/v1/render/image/authenticated/{bucket}/{path}", None, {}),
    "user: what is known of another's output": ("GET", "storage/v1/object/info/{bucket}/{path}", None, {}),
    "user: makes a bucket": ("POST", "storage/v1/bucket", {"name": "mine", "public": True}, {}),
    "user: makes a bucket public": ("PUT", "storage/v1/bucket/{bucket}", {"public": True}, {}),
    # -- a suspended user
    "suspended: a job by rpc": ("POST", "rest/v1/rpc/queue_job", JOB, {}),
    "suspended: a job as a row": ("POST", "rest/v1/jobs", {"user_id": "{suspended}", "job_type": "image_fast", "metadata": {"prompt": "a pier"}}, {}),
    "suspended: a job by the function": ("POST", "functions/v1/queue-job", {"jobType": "image_fast", "metadata": {"prompt": "a pier"}}, {}),
    "suspended: the prompt dialog": ("POST", "rest/v1/rpc/ask_enhancement", {"prompt": "a pier"}, {}),
    "suspended: another reference": ("POST", "storage/v1/object/reference_images/{suspended}/a.png", b"\x89PNG", PNG),
    "suspended: signs an upload": ("POST", "storage/v1/object/upload/sign/reference_images/{suspended}/b.png", {}, {}),
    "suspended: lifts it": ("PATCH", "rest/v1/suspensions?user_id=eq.{suspended}", {"lifted_at": "2025-01-01"}, {"Content-Profile": "ourvidz"}),
    # -- an admin's JWT
    "admin: another's payload as a row": ("GET", "rest/v1/job_payloads?job_id=eq.{done}", None, {}),
    "user: who is an admin": ("POST", "rest/v1/rpc/has_role", {"_user_id": "{admin}", "_role": "admin"}, {}),
    "admin: texts by an embedded resource": ("GET", "rest/v1/jobs?select=id,job_payloads(prompt)&id=eq.{done}&job_payloads.prompt=not.is.null", None, {}),
    "admin: reads a prompt without saying why": ("POST", "rest/v1/rpc/read_prompt", {"job_id": "{done}", "reason": " "}, {}),
    "admin: gives tokens": ("PATCH", "rest/v1/profiles?id=eq.{admin}", {"token_balance": 5}, TOLD),
    "admin: another's output copied to their own": ("POST", "storage/v1/object/copy", {"bucketId": "{bucket}", "sourceKey": "{path}", "destinationBucket": "reference_images", "destinationKey": "{admin}/got.png"}, {}),
    "admin: unmakes a takedown's column": ("PATCH", "rest/v1/images?id=eq.{image}", {"taken_down": True}, TOLD),
    "admin: a review in another's name": ("PATCH", "rest/v1/images?id=eq.{image}", {"reviewed_by": "{victim}"}, TOLD),
    # -- the service key
    "service: tokens": ("PATCH", "rest/v1/profiles?id=eq.{victim}", {"token_balance": 5}, TOLD),
    "service: a job that was not made is completed": ("PATCH", "rest/v1/jobs?id=eq.{waiting}", {"status": "completed", "completed_at": "2025-01-01"}, {}),
    "service: a finished job is opened again": ("PATCH", "rest/v1/jobs?id=eq.{done}", {"status": "queued", "completed_at": None}, {}),
    "service: an event": ("POST", "rest/v1/job_events", {"job_id": "{done}", "type": "completed"}, {}),
    "service: an output's row": ("PATCH", "rest/v1/artifacts?job_id=eq.{done}", {"path": "x"}, {}),
    "service: a job for a suspended user": ("POST", "rest/v1/jobs", {"user_id": "{suspended}", "job_type": "image_fast", "metadata": {"prompt": "a pier"}}, {}),
    "service: all payloads": ("GET", "rest/v1/job_payloads?select=prompt", None, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_change_nothing_and_reveal_nothing(scene: Scene, name: str) -> None:
    method, path, body, headers = REQUESTS[name]
    before = scene.project.database.rows(SNAPSHOT)
    with scene.project.client(scene.token(name.partition(":")[0])) as client:
        given = scene.filled(body)
        sent = {"content": given} if isinstance(given, bytes) else {} if given is None else {"json": given}
        answer = client.request(method, "/" + scene.filled(path), headers=headers, **sent)
    assert scene.project.database.rows(SNAPSHOT) == before
    assert MARK not in answer.text and answer.status_code < 500
    if answer.is_success and not name.startswith(("admin", "service")):
        assert answer.text in ("", "[]", "false") or path == "auth/v1/user", answer.text
        assert headers is not COUNT or answer.headers["content-range"] == "*/0"


# -- Postgres logins ------------------------------------------------------------------------------------------------------------------

STATEMENTS: dict[str, str] = {
    "analyst: texts from the planner's figures": "select most_common_vals::text, histogram_bounds::text from pg_stats where schemaname in ('public', 'ourvidz')",
    "analyst: pg_statistic itself": "select stavalues1::text from pg_statistic",
    "analyst: others' statements": "select query from pg_stat_activity where usename is distinct from session_user and query <> '<insufficient privilege>'",
    "analyst: a function that is cheap and tells": "create function pg_temp.tell(text) returns boolean language plpgsql cost 0.0001 as $$ begin raise notice '%', $1; return true; end $$;"
                                                    " select job_id from public.job_payloads where pg_temp.tell(prompt)",
    "analyst: a whole row as text": "select j::text from public.jobs as j",
    "analyst: a whole row of artifacts": "select to_jsonb(a) from public.artifacts as a",
    "analyst: a program by COPY": "copy (select 1) to program 'true'",
    "analyst: a file of the server": "select pg_read_file('postgresql.conf')",
    "analyst: a file as a large object": "select lo_import('/etc/passwd')",
    "analyst: another database by dblink": "create extension dblink",
    "analyst: a language that runs programs": "create extension plpython3u",
    "analyst: becomes the owner": "set role ourvidz_owner",
    "analyst: becomes a user": "select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', true); select public.read_prompt('{done}', 'curious')",
    "analyst: a table that stands before ours": "create table public.our_job_types (name text)",
    "analyst: the salt of digests": "select salt from public.job_payloads",
    "analyst: hashes that are blocked": "select * from ourvidz.blocked_hashes",
    "analyst: texts of reports": "select said, contact from ourvidz.report_payloads",
    "executor: the prompts of all, as rows": "select prompt from public.job_payloads",
    "executor: secrets that claims are drawn from": "select secret from ourvidz.executors",
    "executor: a claim's token, worked out": "select ourvidz.claim_token('{none}', '{done}', 1)",
    "executor: asks for the owner's right": "grant ourvidz_owner to current_user",
    "executor: turns triggers off": "set session_replication_role = replica",
    "executor: the dialog's rows": "select prompt from ourvidz.enhancement_requests",
    "executor: an answer to a request that it did not take": "select ourvidz.enhancement_finish(id, 1, '{}') from ourvidz.enhancement_requests",
    "executor: verifies an age": "select public.verify_age('{suspended}', true, 'passport')",
    "executor: files a report": "select public.file_report('{none}', 'minor', 'a', '{done}')",
    "intake: another's job, taken by its id": "select ourvidz.intake('sdxl_queue', jsonb_build_array(jsonb_build_object('digest', repeat('0', 64), 'message',"
                                            " jsonb_build_object('id', '{waiting}', 'type', 'sdxl_image_fast', 'prompt', 'x', 'user_id', '{user}', 'config', '{}'::jsonb)))) - 'x'",
    "intake: a job for a suspended user": "select ourvidz.intake('sdxl_queue', jsonb_build_array(jsonb_build_object('digest', repeat('0', 64), 'message',"
                                        " jsonb_build_object('id', '{none}', 'type', 'sdxl_image_fast', 'prompt', 'x', 'user_id', '{suspended}', 'config', '{}'::jsonb))))",
    "intake: submits as an operator": "select ourvidz.submit('{}', 'cli')",
    "intake: reads what it queued": "select prompt from public.job_payloads",
    "deliverer: seals objects of a user who is not suspended": "select ourvidz.suspension_found('{suspension}', '{bucket}', array['{path}'])",
    "deliverer: a receiver of its own": "select ourvidz.receiver_set('me', 'https://example.com', '{}')",
    "deliverer: all prompts": "select prompt, settings from public.job_payloads",
    "deliverer: says that an object is to be deleted": "insert into ourvidz.removals (bucket, path) values ('{bucket}', '{path}')",
}  # fmt: skip


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_login_changes_nothing_and_reads_no_text(
    scene: Scene, server: Server, logins: dict[str, psycopg.Connection[Any]], name: str
) -> None:
    db = scene.project.database
    db.rows("analyze public.job_payloads, public.images, public.projects, public.jobs")
    before = db.rows(SNAPSHOT)
    told: list[str] = []
    connection = logins[name.partition(":")[0]]
    connection.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
    statement = scene.filled(STATEMENTS[name])
    try:
        for cursor in connection.execute(statement).results():
            told += [str(found) for found in cursor.fetchall()] if cursor.description else []
    except psycopg.Error as error:
        told.append(str(error))
    assert db.rows(SNAPSHOT) == before
    assert MARK not in "".join(told)


@pytest.fixture(scope="module")
def logins(scene: Scene, server: Server) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    name = scene.project.database.rows("select current_database()::text as name")[0]["name"]
    with ExitStack() as opened:
        made = {}
        for role in ("analyst", "executor", "intake", "deliverer"):
            url = opened.enter_context(login(server, name, f"ourvidz_{role}"))
            made[role] = opened.enter_context(psycopg.connect(url, autocommit=True))
        yield made


# -- attacks of several requests ------------------------------------------------------------------------------------------------------


def test_path_traversal_in_object_names_cannot_delete_others_objects(scene: Scene) -> None:
    """HTTP libraries resolve `..` in a URL: `MINE/../THEIRS/face.png`, deleted with the service key, would be THEIRS/face.png."""
    me, victim = scene.names["user"], scene.names["victim"]
    store = SupabaseStorage(scene.project.url, scene.project.service_key, BUCKETS)
    with scene.project.client(scene.project.service_key) as client:
        # Possible for users before such names were refused.
        there = f"/storage/v1/object/reference_images/{me}/..%2f{victim}/face.png"
        client.post(there, content=b"\x89PNG", headers=PNG).raise_for_status()
        assert store.clear("reference_images", me) == 1
        assert store.clear("reference_images", me) == 0
        client.get(f"/storage/v1/object/authenticated/reference_images/{victim}/face.png").raise_for_status()


def test_planned_count_reveals_nothing_of_others_texts(scene: Scene) -> None:
    """`count=planned` returns the planner's estimate, whose statistics hold frequent values of all users' rows."""
    db = scene.project.database
    victim = scene.project.user()
    jobs = Jobs(db, Permissive(), patience=20)
    mine = scene.project.user()
    for n in range(12):
        submit(jobs, victim.id, prompt=f"a {MARK} again") if n % 2 else submit(jobs, mine.id, prompt=f"a pier {n}")
    db.rows("analyze public.job_payloads")
    with scene.project.client(mine) as client:

        def guess(prompt: str) -> str:
            asked = {"select": "job_id", "prompt": f"eq.{prompt}"}
            return client.get("/rest/v1/job_payloads", params=asked, headers={"Prefer": "count=planned"}).headers["content-range"]

        assert guess(f"a {MARK} again") == guess("a text that nobody wrote")


def test_erased_text_leaves_the_planner_statistics(scene: Scene, tmp_path: Path) -> None:
    db = scene.project.database
    jobs = Jobs(db, Permissive(), patience=20)
    me, word = scene.project.user(), "xylophone"
    for _ in range(5):
        submit(jobs, me.id, prompt=f"a {word}")
        db.rows("insert into public.projects (user_id, title) values (%s, %s)", (me.id, word))
    db.rows("analyze public.job_payloads, public.projects, public.jobs")
    store = SupabaseStorage(scene.project.url, scene.project.service_key, BUCKETS)
    Eraser(jobs, store, tmp_path).erase(me.id, by="person:op")
    kept = "select tablename || '.' || attname as at from pg_stats where concat(most_common_vals::text, histogram_bounds::text) like %s"
    assert db.rows(kept, (f"%{word}%",)) == []


def test_two_logins_cannot_register_one_executor_name_concurrently(
    scene: Scene, logins: dict[str, psycopg.Connection[Any]], server: Server
) -> None:
    name = scene.project.database.rows("select current_database()::text as name")[0]["name"]
    sql = "select ourvidz.register('wanted', 'host', 1, array['sdxl'])"
    with login(server, name, "ourvidz_executor") as url, psycopg.connect(url, autocommit=True) as thief, ThreadPoolExecutor(1) as pool:
        with logins["executor"].transaction():
            logins["executor"].execute(sql)
            second = pool.submit(thief.execute, sql)
            wait_for_lock(scene.project.database, thief.info.backend_pid)
        with pytest.raises(psycopg.Error, match="of another login is alive"):
            second.result(LIMIT)


def test_forged_tokens_are_refused(scene: Scene) -> None:
    """No signature, another algorithm, a public key used as secret."""
    public = json.dumps(httpx.get(f"{scene.project.url}/auth/v1/.well-known/jwks.json").json()["keys"][0])
    claims = {"sub": scene.names["victim"], "role": "service_role", "aud": "authenticated", "exp": 4102444800}

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    for head, secret in (({"alg": "none"}, b""), ({"alg": "HS256", "typ": "JWT"}, public.encode()), ({"alg": "HS256"}, b"")):
        body = f"{part(head)}.{part(claims)}"
        signature = hmac.digest(secret, body.encode(), "sha256") if head["alg"] != "none" else b""
        token = f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
        with scene.project.client(token) as client:
            for path in (
                "rest/v1/jobs",
                f"storage/v1/object/authenticated/{scene.names['bucket']}/{scene.names['path']}",
                "auth/v1/admin/users",
            ):
                answer = client.get(f"/{path}")
                assert 400 <= answer.status_code < 500 and MARK not in answer.text, path
            assert client.post("/functions/v1/queue-job", json={"jobType": "image_fast", "metadata": {"prompt": "x"}}).status_code == 401


def test_duplicate_json_keys_are_read_the_same_everywhere(scene: Scene) -> None:
    """A duplicate key with two values: screens, job and picture all use the same one."""
    project, me = scene.project, scene.project.user()
    redis = Upstash(project.upstash.url, project.upstash.token)
    job = str(uuid.uuid4())
    text = json.dumps({"id": job, "type": "sdxl_image_fast", "prompt": "PLACE", "user_id": me.id, "config": {}, "metadata": {}})
    project.valkey.call(
        "LPUSH", "sdxl_queue", text.replace('"prompt": "PLACE"', '"prompt": "a first pier", "prompt": "a last pier"').encode()
    )
    Drainer(project.database, redis, QUEUES, patience=5).once()
    redis.close()
    found = project.database.rows("select prompt from public.job_payloads where job_id = %s", (job,))
    assert found in ([], [{"prompt": "a last pier"}])


def test_host_account_finds_no_secret_in_command_lines_and_no_open_port(scene: Scene) -> None:
    stack = scene.project.stack
    secrets = [value for name, value in stack.environment.items() if name.endswith(("_KEY", "_TOKEN", "_SECRET"))]
    lines = [Path(f"/proc/{process.pid}/cmdline").read_text() for process in stack.processes.values()]
    assert lines and not [line for line in lines for secret in secrets if secret in line]
    with socket.create_connection(("127.0.0.1", stack.valkey.port), 5) as line:
        line.sendall(b"LRANGE sdxl_queue 0 -1\r\n")
        assert line.recv(200).startswith(b"-NOAUTH")
    for open_file in (stack.folder / name for name in ("keys.json", "jwks.json", "storage")):
        assert open_file.stat().st_mode & 0o077 == 0, open_file


def test_reporter_cannot_tell_an_id_that_exists(scene: Scene) -> None:
    answers = []
    for output in (scene.names["waiting"], NOBODY, scene.names["victim"]):
        with httpx.Client(base_url=scene.project.url, timeout=LIMIT) as client:
            answer = client.post("/functions/v1/report", json={"output": output, "category": "other", "said": "x"})
        answers.append((answer.status_code, {k: v for k, v in answer.json().items() if k != "report"}, sorted(answer.json())))
    assert answers[0][0] == 200 and answers.count(answers[0]) == 3


def test_reusing_a_report_id_changes_nothing(scene: Scene) -> None:
    """Reusing an existing id neither changes that report nor hides the output that the second one names."""
    db, number = scene.project.database, str(uuid.uuid4())
    with httpx.Client(base_url=scene.project.url, timeout=LIMIT) as client:
        first = client.post("/functions/v1/report", json={"id": number, "category": "other", "said": "first"})
        kept = db.rows("select to_jsonb(r) as r, to_jsonb(p) as p from ourvidz.reports as r join ourvidz.report_payloads as p using (id)")
        taken = db.rows("select * from ourvidz.takedowns")
        client.post("/functions/v1/report", json={"id": number, "category": "minor", "output": scene.names["done"], "said": "second"})
    assert first.status_code == 200
    assert (
        db.rows("select to_jsonb(r) as r, to_jsonb(p) as p from ourvidz.reports as r join ourvidz.report_payloads as p using (id)") == kept
    )
    assert db.rows("select * from ourvidz.takedowns") == taken


def test_service_key_of_an_edge_function_is_not_an_executor(scene: Scene) -> None:
    with scene.project.client(scene.project.service_key) as client:
        for schema in ("ourvidz", "storage", "auth", "pg_catalog"):
            answer = client.post("/rest/v1/rpc/claim", json={}, headers={"Content-Profile": schema})
            assert answer.status_code == 406, answer.text
