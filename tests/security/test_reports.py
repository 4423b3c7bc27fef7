"""Attacks on reports and takedowns: reporters who report everything to hide it, probe for ids, or keep an output down; owners who keep
showing what was taken down, by a signed URL, a new row, the same bytes or a similar picture; suspended users who go on; and unauthorised
users who decide, read reports or change decisions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from api import Api, api_of
from support import Clock, Server, artifact, claim, executor, finish, row, submit, types

from ourvidz.db import moderation
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.quarantine import Quarantine, sealed_path
from ourvidz.removals import Remover
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS, QUARANTINE
from state.errors import IllegalTransition, InvalidJob, NotFound, RateLimited, Suspended
from state.reports import CATEGORIES

User = Callable[..., str]
SOURCE = sha256(b"one").hexdigest()
SIGNED = {"contact": "a@example.com", "signature": "A. Person", "good_faith": True}


@pytest.fixture
def api(server: Server, database_name: str, database: Database) -> Iterator[Api]:
    with api_of(server, database_name) as found:
        yield found


def made(jobs: Jobs, user: str) -> Claim:
    submit(jobs, user)
    job = claim(jobs, executor(jobs, uuid.uuid4().hex))
    finish(jobs, job)
    return job


def report(db: Database, output: str | None, category: str = "minor", *, source: str = SOURCE, **more: Any) -> dict[str, Any]:
    given = {"id": str(uuid.uuid4()), "category": category, "source": source, "output": output, "said": "it is wrong"} | more
    names = ", ".join(f"{name} => %({name})s" for name in given)
    (answer,) = db.rows(f"select public.file_report({names}) as told", given)
    told: dict[str, Any] = answer["told"]
    return told


def state(db: Database, job: Claim) -> str | None:
    rows = db.rows("select state from ourvidz.takedowns where job_id = %s", (job.job_id,))
    return rows[0]["state"] if rows else None


def audit(db: Database) -> list[tuple[str, str]]:
    return [(r["type"], r["actor"]) for r in db.rows("select type, actor from ourvidz.moderation_events order by id")]


def shown(db: Database, job: Claim) -> list[tuple[str, bool]]:
    sql = "select moderation_status, taken_down from public.images where job_id = %s"
    return [(r["moderation_status"], r["taken_down"]) for r in db.rows(sql, (job.job_id,))]


# -- filing --------------------------------------------------------------------------------------------------------------------------


def test_a_minor_report_hides_at_once_and_dismissal_restores(database: Database, jobs: Jobs, user: User) -> None:
    owner = user()
    job = made(jobs, owner)
    filed = report(database, f"https://x.example/functions/v1/report?o={job.job_id}.0")
    assert filed["hours"] == 24 and state(database, job) == "hidden" and shown(database, job) == [("rejected", True)]
    assert database.rows("select down from ourvidz.taken_objects") == [{"down": True}]
    assert moderation.act(database, filed["report"], "dismiss", "person:op")["status"] == "dismissed"
    assert state(database, job) == "restored" and shown(database, job) == [("approved", False)]
    assert audit(database) == [("filed", "reporter"), ("hidden", "system"), ("dismissed", "person:op"), ("restored", "person:op")]


def test_a_decided_output_is_not_hidden_again_automatically(database: Database, jobs: Jobs, user: User) -> None:
    job = made(jobs, user())
    moderation.act(database, report(database, job.job_id)["report"], "dismiss", "person:op")
    for n in range(5):
        report(database, job.job_id, source=sha256(bytes([n])).hexdigest())
    assert state(database, job) == "restored" and shown(database, job) == [("approved", False)]
    assert len(moderation.queue(database)) == 5


def test_mass_reports_hide_only_a_few_automatically(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    outputs = [made(jobs, user()) for _ in range(5)]
    for job in outputs:
        report(database, job.job_id, "ncii", **SIGNED)
    assert [state(database, job) for job in outputs] == ["hidden"] * 3 + ["reported"] * 2
    for job in outputs:
        report(database, job.job_id, "other")
    with pytest.raises(RateLimited):
        report(database, outputs[0].job_id)
    assert len(moderation.queue(database)) == 10
    clock.advance(86_400)
    report(database, outputs[3].job_id, "ncii", **SIGNED)
    assert state(database, outputs[3]) == "hidden"


def test_reports_are_rate_limited_by_category(database: Database, jobs: Jobs, user: User) -> None:
    database.rows("update ourvidz.report_rules set per_hour = 3 where name = 'other'")
    for n in range(3):
        report(database, None, "other", source=sha256(bytes([n])).hexdigest())
    with pytest.raises(RateLimited):
        report(database, None, "other", source=sha256(b"another").hexdigest())
    assert report(database, None, "ncii", source=sha256(b"another").hexdigest(), **SIGNED)["hours"] == 48


@pytest.mark.parametrize("missing", [{"contact": None}, {"signature": None}, {"good_faith": False}, {}])
def test_an_invalid_ncii_request_hides_nothing(database: Database, jobs: Jobs, user: User, missing: dict[str, Any]) -> None:
    job = made(jobs, user())
    report(database, job.job_id, "ncii", **SIGNED | missing)
    assert state(database, job) == ("reported" if missing else "hidden")
    assert moderation.queue(database)[0]["valid"] is not bool(missing)


def test_unknown_ids_get_the_same_answer_as_known_ones(database: Database, jobs: Jobs, user: User) -> None:
    job = made(jobs, user())
    answers = []
    for output in (job.job_id, str(uuid.uuid4()), f"{job.job_id}.77", "../../etc/passwd", "' or true --", "9" * 500, None):
        told = report(database, output, "other", said="x")
        answers.append({**told, "report": "*"})
    assert all(told == answers[0] for told in answers)
    assert [r["subject"] is not None for r in database.rows("select subject from ourvidz.reports order by filed_at")].count(True) == 1


def test_a_repeated_report_id_is_one_report_and_reveals_nothing(database: Database, jobs: Jobs, user: User) -> None:
    job, other = made(jobs, user()), made(jobs, user())
    first = report(database, job.job_id, "other")
    again = report(database, other.job_id, "other", id=first["report"], source=sha256(b"two").hexdigest())
    assert again == first and len(moderation.queue(database)) == 1 and state(database, other) is None


def test_reporter_addresses_are_hashed_with_a_rotating_salt(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    report(database, None, "other")
    (kept,) = database.rows("select source from ourvidz.report_sources")
    assert kept["source"] != SOURCE
    clock.advance(3 * 86_400)
    report(database, None, "other")
    (later,) = database.rows("select source from ourvidz.report_sources")
    assert later["source"] != kept["source"] and len(database.rows("select 1 as x from ourvidz.report_salts")) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"category": "nothing"}, {"source": "127.0.0.1"}, {"said": "x" * 4001}, {"contact": "x" * 255}, {"signature": "x" * 201},
     {"output": "x" * 501}, {"output": None, "said": None}],
)  # fmt: skip
def test_invalid_reports_are_refused_completely(database: Database, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        report(database, **{"output": None, "category": "other"} | wrong)
    assert database.rows("select 1 as x from ourvidz.reports") == database.rows("select 1 as x from ourvidz.report_sources") == []


# -- deciding ------------------------------------------------------------------------------------------------------------------------


def test_only_admins_decide_and_read_reports(api: Api, database: Database, jobs: Jobs, user: User) -> None:
    owner = user()
    job = made(jobs, owner)
    filed = report(database, job.job_id, "other", contact="secret@example.com")
    moderate, queue = "select public.moderate('hide', report => %s)", "select public.report_queue()"
    for role, who in (
        ("anon", None),
        ("authenticated", owner),
        ("authenticated", user()),
        ("ourvidz_executor", None),
        ("ourvidz_analyst", None),
    ):
        for query, params in ((moderate, (filed["report"],)), (queue, ()), ("select * from ourvidz.report_payloads", ()),
                              ("select * from ourvidz.blocked_hashes", ())):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                api.rows(role, who, query, params)
    for query, params in ((moderate, (filed["report"],)), (queue, ())):
        with pytest.raises(psycopg.Error) as refused, api.request("authenticated", owner) as cursor:
            cursor.execute("reset role")  # as if a grant were too wide: the functions check the caller too
            cursor.execute(query, params)
        assert refused.value.sqlstate == "OV017"
    admin = user()
    (told,) = api.rows("authenticated", admin, moderate, (filed["report"],), admin=True)
    assert told["moderate"]["status"] == "seen" and told["moderate"]["contact"] == "secret@example.com" and state(database, job) == "hidden"
    assert audit(database)[-2:] == [("seen", f"admin:{admin}"), ("hidden", f"admin:{admin}")]
    (told,) = api.rows("authenticated", admin, queue, (), admin=True)
    assert [r["state"] for r in told["report_queue"]] == ["hidden"] and "secret" not in json.dumps(told)


def test_only_the_service_key_can_file_reports(api: Api, user: User) -> None:
    ask = "select public.file_report(%s::uuid, 'other', %s, said => 'x')"
    for role, who in (("anon", None), ("authenticated", user()), ("ourvidz_executor", None), ("ourvidz_analyst", None)):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.rows(role, who, ask, (str(uuid.uuid4()), SOURCE))
    assert api.rows("service_role", None, ask, (str(uuid.uuid4()), SOURCE))


def test_a_decision_is_never_changed_or_taken_away(database: Database, superuser: psycopg.Connection[Any], jobs: Jobs, user: User) -> None:
    report(database, made(jobs, user()).job_id)
    for query in ("update ourvidz.moderation_events set actor = 'nobody'", "delete from ourvidz.moderation_events",
                  "truncate ourvidz.moderation_events"):  # fmt: skip
        with pytest.raises(psycopg.Error, match="append-only"):
            superuser.execute(query)


def test_hiding_is_idempotent_and_does_not_undo_a_block(database: Database, jobs: Jobs, user: User) -> None:
    job = made(jobs, user())
    one, two = (report(database, job.job_id, "other", source=sha256(bytes([n])).hexdigest())["report"] for n in (1, 2))
    for verb in ("hide", "hide", "block", "block"):
        moderation.act(database, one, verb, "person:op")
    moderation.act(database, two, "hide", "person:op")
    assert state(database, job) == "blocked"
    moderation.act(database, two, "dismiss", "person:op")
    assert state(database, job) == "blocked", "another report was upheld"
    assert [kind for kind, _ in audit(database)].count("hidden") == 1
    with pytest.raises(IllegalTransition):
        moderation.act(database, two, "hide", "person:op")
    with pytest.raises(NotFound):
        moderation.act(database, str(uuid.uuid4()), "hide", "person:op")


def test_an_open_valid_request_keeps_an_output_hidden_when_another_is_dismissed(database: Database, jobs: Jobs, user: User) -> None:
    job = made(jobs, user())
    valid = report(database, job.job_id, "ncii", **SIGNED)["report"]
    moderation.act(database, report(database, job.job_id, "other")["report"], "dismiss", "person:op")
    assert state(database, job) == "hidden"
    moderation.act(database, valid, "dismiss", "person:op")
    assert state(database, job) == "restored"


def test_an_admins_rejection_of_an_image_row_is_a_takedown(api: Api, database: Database, jobs: Jobs, user: User) -> None:
    owner, admin = user(), user()
    job = made(jobs, owner)
    for word, then in (("rejected", "hidden"), ("approved", "restored")):
        change = "update public.images set moderation_status = %s, review_notes = 'looked at' where job_id = %s"
        api.rows("authenticated", admin, change, (word, job.job_id), admin=True)
        assert state(database, job) == then and audit(database)[-1] == (then, f"admin:{admin}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.rows("authenticated", owner, "update public.images set moderation_status = 'approved'")


# -- the owner's attempts ------------------------------------------------------------------------------------------------------------


def test_the_owner_can_neither_see_nor_restore_a_hidden_output(api: Api, database: Database, jobs: Jobs, user: User) -> None:
    owner = user()
    job, kept = made(jobs, owner), made(jobs, owner)
    paths = {r["job_id"]: (r["bucket"], r["path"]) for r in database.rows("select job_id::text, bucket, path from public.artifacts")}
    for bucket in {bucket for bucket, _ in paths.values()}:
        database.rows("insert into storage.buckets (id, name) values (%s, %s) on conflict do nothing", (bucket, bucket))
    for bucket, path in paths.values():
        database.rows("insert into storage.objects (bucket_id, name) values (%s, %s)", (bucket, path))
    report(database, job.job_id)

    def mine(query: str, *params: Any) -> list[dict[str, Any]]:
        return api.rows("authenticated", owner, query, params)

    assert [r["name"] for r in mine("select name from storage.objects")] == [paths[kept.job_id][1]]
    assert (
        mine("select 1 as x from public.images where job_id = %s", job.job_id)
        == mine("select 1 as x from public.artifacts where job_id = %s", job.job_id)
        == []
    )
    assert mine("delete from storage.objects where name = %s returning name", paths[job.job_id][1]) == []
    assert mine("delete from public.images where job_id = %s returning id", job.job_id) == []
    (status,) = mine("select public.job_status(%s) as told", job.job_id)
    assert status["told"]["assets"] == []
    # A library row inserted later does not show it either.
    database.rows("delete from public.images where job_id = %s", (job.job_id,))
    mine("insert into public.images (user_id, prompt, job_id, image_index) values (%s, 'x', %s, 0)", owner, job.job_id)
    assert mine("select 1 as x from public.images where job_id = %s", job.job_id) == [] and shown(database, job) == [("rejected", True)]


def test_a_hidden_output_is_no_reference_without_consent(database: Database, jobs: Jobs, user: User) -> None:
    job = made(jobs, user())
    bytes_of = artifact(job)["sha256"]
    asked = "select ourvidz.why_no_consent(%s, %s) as why"
    assert database.rows(asked, (job.user_id, bytes_of)) == [{"why": None}]
    report(database, job.job_id)
    assert database.rows(asked, (job.user_id, bytes_of)) == [{"why": "unattested"}]


def stored(root: Path, database: Database) -> tuple[FolderStore, Quarantine]:
    """A folder store with the objects that the artifacts' rows name."""
    store = FolderStore(root / "storage", BUCKETS)
    for a in database.rows("select bucket, path from public.artifacts where uploaded_at is not null"):
        (root / "file.png").write_bytes(a["path"].encode())
        store.put(a["bucket"], a["path"], root / "file.png", "image/png")
    return store, Quarantine(database, store, all_here=True)


def test_a_hidden_object_is_moved_to_quarantine_and_back(database: Database, jobs: Jobs, user: User, tmp_path: Path) -> None:
    job = made(jobs, user())
    store, quarantine = stored(tmp_path, database)
    (a,) = database.rows("select bucket, path from public.artifacts")
    filed = report(database, job.job_id)
    assert quarantine.settle() == 1 and quarantine.round() == 0
    assert store.stat(a["bucket"], a["path"]) is None and list(store.list(QUARANTINE, job.user_id)) == [sealed_path(a["bucket"], a["path"])]
    # If its owner deletes it, it is kept as evidence until the report is decided, and removed then.
    jobs.db.rows("select ourvidz.remove_from_library(%s)", (job.job_id,))
    remover = Remover(database, store, all_here=True)
    assert remover.round() == 0
    moderation.act(database, filed["report"], "dismiss", "person:op")
    assert quarantine.settle() == 1 and store.stat(a["bucket"], a["path"]) is not None and list(store.list(QUARANTINE)) == []
    assert remover.round() == 1 and database.rows("select 1 as x from ourvidz.taken_objects") == []


def test_a_reupload_of_a_hidden_object_is_quarantined_again(database: Database, jobs: Jobs, user: User, tmp_path: Path) -> None:
    submit(jobs, user())
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    a = artifact(job)
    jobs.artifact_generated(job, a)
    moderation.output(database, job.job_id, "hide", "person:op", "other")
    store, quarantine = stored(tmp_path, database)
    quarantine.settle()
    jobs.advance(job, "upload_started")
    (tmp_path / "file.png").write_bytes(b"picture")
    store.put(a["bucket"], a["path"], tmp_path / "file.png", "image/png")
    jobs.artifact_uploaded(job, "image", 0, a["sha256"])
    quarantine.settle()
    assert store.stat(a["bucket"], a["path"]) is None and len(store.list(QUARANTINE)) == 1


def test_an_upload_after_the_restore_stays_and_can_be_deleted(database: Database, jobs: Jobs, user: User, tmp_path: Path) -> None:
    """Restored before its object was moved back: the new object is in its place, and nothing keeps it there."""
    submit(jobs, user())
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    a = artifact(job)
    jobs.artifact_generated(job, a)
    filed = report(database, job.job_id)
    moderation.output(database, job.job_id, "hide", "person:op", "other")
    store, quarantine = stored(tmp_path, database)
    quarantine.settle()
    moderation.act(database, filed["report"], "dismiss", "person:op")
    jobs.advance(job, "upload_started")
    (tmp_path / "file.png").write_bytes(b"picture")
    store.put(a["bucket"], a["path"], tmp_path / "file.png", "image/png")
    jobs.artifact_uploaded(job, "image", 0, a["sha256"])
    jobs.complete(job)
    assert quarantine.settle() == 0 and store.stat(a["bucket"], a["path"]) is not None
    jobs.db.rows("select ourvidz.remove_from_library(%s)", (job.job_id,))
    assert Remover(database, store, all_here=True).round() == 1 and store.stat(a["bucket"], a["path"]) is None


# -- copies --------------------------------------------------------------------------------------------------------------------------


def near(pdq: str, bits: int) -> str:
    return f"{int(pdq, 16) ^ int('1' * bits, 2):064x}"


def test_a_block_refuses_equal_and_similar_pictures_and_hides_earlier_copies(database: Database, jobs: Jobs, user: User) -> None:
    looks = sha256(b"a picture").hexdigest()
    found = []
    for bits in (0, 10, 60):
        submit(jobs, user())
        job = claim(jobs, executor(jobs, uuid.uuid4().hex))
        jobs.advance(job, "generation_started")
        a = artifact(job)
        jobs.artifact_generated(job, a | {"pdq": [near(looks, bits) if bits else looks]})
        jobs.advance(job, "upload_started")
        jobs.artifact_uploaded(job, "image", 0, a["sha256"])
        jobs.complete(job)
        found.append((job, a))
    (first, a), (copy, _), (other, _) = found
    moderation.act(database, report(database, first.job_id, "other")["report"], "block", "person:op")
    assert [state(database, job) for job in (first, copy, other)] == ["blocked", "hidden", None]
    submit(jobs, user())
    job = claim(jobs, executor(jobs))
    assert jobs.blocked(job, a["sha256"], [])
    assert jobs.blocked(job, "0" * 64, [near(looks, 31)]) and not jobs.blocked(job, "0" * 64, [near(looks, 32)])
    moderation.output(database, first.job_id, "restore", "person:op", "other")
    assert not jobs.blocked(job, a["sha256"], [looks])


# -- suspension ----------------------------------------------------------------------------------------------------------------------


def test_suspension_cancels_jobs_releases_tokens_and_blocks_submits(database: Database, jobs: Jobs, user: User) -> None:
    bad, other = user(), user()
    running, waiting, theirs = submit(jobs, bad), submit(jobs, bad), submit(jobs, other)
    gpu = executor(jobs)
    held = claim(jobs, gpu)
    moderation.suspend(database, bad, "abuse", "person:op")
    assert row(database, waiting)["status"] == "cancelled" and jobs.held(gpu)[running].cancel_requested
    assert [c.job_id for c in jobs.claim(gpu)] == [theirs]
    jobs.honour_cancel(held)
    assert database.rows("select token_balance as n from public.profiles where id = %s", (bad,)) == [{"n": 1_000_000}]
    for _ in range(2):
        with pytest.raises(Suspended, match="suspended"):
            submit(jobs, bad)
    with pytest.raises(Suspended):
        jobs.retry(waiting)
    assert moderation.lift(database, bad, "person:op") and not moderation.lift(database, bad, "person:op")
    assert types(database, submit(jobs, bad)) == ["submitted"]
    assert audit(database) == [("suspended", "person:op"), ("lifted", "person:op")]


def test_a_suspended_users_objects_and_references_are_quarantined(
    api: Api, database: Database, jobs: Jobs, user: User, tmp_path: Path, clock: Clock
) -> None:
    bad = user()
    job = made(jobs, bad)
    store, quarantine = stored(tmp_path, database)
    store.put("reference_images", f"{bad}/1-ref.png", tmp_path / "file.png", "image/png")
    (a,) = database.rows("select bucket, path from public.artifacts")
    database.rows("insert into storage.buckets (id, name) values ('reference_images', 'reference_images')")
    database.rows("insert into storage.objects (bucket_id, name) values ('reference_images', %s)", (f"{bad}/1-ref.png",))
    read = "select name from storage.objects"
    assert len(api.rows("authenticated", bad, read)) == 1
    taken = moderation.output(database, job.job_id, "hide", "person:op", "other")
    moderation.suspend(database, bad, "abuse", "person:op")
    assert api.rows("authenticated", bad, read) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.rows(
            "authenticated", bad, "insert into storage.objects (bucket_id, name) values ('reference_images', %s)", (f"{bad}/2-ref.png",)
        )
    quarantine.settle()
    assert list(store.list(a["bucket"])) == list(store.list("reference_images")) == [] and len(store.list(QUARANTINE, bad)) == 2
    # A request that was under way stores later, and is found by the second look.
    store.put("reference_images", f"{bad}/2-ref.png", tmp_path / "file.png", "image/png")
    clock.advance(1_201)
    quarantine.settle()
    assert list(store.list("reference_images")) == []
    moderation.lift(database, bad, "person:op")
    quarantine.settle()
    assert len(store.list("reference_images", bad)) == 2 and store.stat(a["bucket"], a["path"]) is None, "still taken down"
    assert taken["state"] == "hidden" and len(store.list(QUARANTINE, bad)) == 1


# -- appeals -------------------------------------------------------------------------------------------------------------------------


def test_one_appeal_per_decision_and_only_by_its_owner(api: Api, database: Database, jobs: Jobs, user: User) -> None:
    owner, other = user(), user()
    job = made(jobs, owner)
    ask = "select public.appeal(%s, %s) as told"
    for who, said, output in ((owner, "why", job.job_id), (other, "why", job.job_id), (owner, "why", None), (owner, "", job.job_id)):
        with pytest.raises(psycopg.Error) as refused:
            api.rows("authenticated", who, ask, (said, output))
        assert refused.value.sqlstate in ("OV018", "OV009")
    report(database, job.job_id)
    with pytest.raises(psycopg.Error, match="nothing of yours"):
        api.rows("authenticated", other, ask, ("why", job.job_id))
    assert api.rows("authenticated", owner, ask, ("It is a lighthouse.", f"{job.job_id}.0"))[0]["told"]["decision"] is None
    with pytest.raises(psycopg.Error, match="already"):
        api.rows("authenticated", owner, ask, ("It is.", job.job_id))
    (told,) = api.rows("authenticated", owner, "select public.my_restrictions() as told")
    assert told["told"]["suspended"] is None and [o["output"] for o in told["told"]["outputs"]] == [f"{job.job_id}.0"]
    (waiting,) = moderation.appeals(database)
    assert waiting["said"] == "It is a lighthouse."
    moderation.decide_appeal(database, waiting["id"], True, "person:op")
    assert state(database, job) == "restored" and moderation.queue(database) == []
    assert [kind for kind, _ in audit(database)] == ["filed", "hidden", "appealed", "appeal_granted", "dismissed", "restored"]


def test_a_suspended_user_may_appeal_once_and_the_decision_is_final(api: Api, database: Database, user: User) -> None:
    bad = user()
    moderation.suspend(database, bad, "abuse", "person:op")
    ask = "select public.appeal(%s) as told"
    api.rows("authenticated", bad, ask, ("It was not me.",))
    with pytest.raises(psycopg.Error, match="already"):
        api.rows("authenticated", bad, ask, ("Really.",))
    (waiting,) = moderation.appeals(database)
    assert moderation.decide_appeal(database, waiting["id"], False, "person:op")["decision"] == "denied"
    assert database.rows("select ourvidz.may_run(%s) as may", (bad,)) == [{"may": False}]
    with pytest.raises(IllegalTransition):
        moderation.decide_appeal(database, waiting["id"], True, "person:op")


# -- retention and deadlines ---------------------------------------------------------------------------------------------------------


def test_report_texts_are_deleted_a_year_after_the_decision(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    closed, still = (report(database, None, "other", contact="a@example.com")["report"] for _ in range(2))
    moderation.act(database, closed, "dismiss", "person:op")
    clock.advance(366 * 86_400)
    jobs.reap()
    assert [str(r["id"]) for r in database.rows("select id from ourvidz.report_payloads")] == [still]


def test_deadlines_depend_on_the_category(database: Database, clock: Clock) -> None:
    for n, kind in enumerate(CATEGORIES):
        report(database, None, kind.name, source=sha256(bytes([n])).hexdigest())
    waits = {r["category"]: (r["due_at"] - clock.at).total_seconds() for r in moderation.queue(database)}
    assert waits == {kind.name: kind.deadline for kind in CATEGORIES} and waits["ncii"] == 48 * 3600
    clock.advance(48 * 3600 + 1)
    assert [r["category"] for r in moderation.queue(database) if r["overdue"]] == ["minor", "ncii"]
