"""A superuser with the guards off tampers with history; the audit must find each change and locate it."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from support import Clock, as_job, claim, events, executor, finish, new_user, row, submit
from waiting import LIMIT

from ourvidz.audit import KINDS, audit, publish_heads, rebuild
from ourvidz.chain_heads import HeadsDamaged
from ourvidz.db.connection import Database
from ourvidz.db.history import HistoryBusy
from ourvidz.lifecycle import Jobs


class Tamper:
    """Runs statements as the superuser, with all triggers and foreign keys off."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.guards = connection.execute("select tgrelid::regclass::text, tgname from pg_trigger where tgname = 'replica_guard'").fetchall()

    def __call__(self, *statements: str, job: str = "") -> None:
        with self.connection.transaction():
            for table in ("jobs", "job_events"):
                self.connection.execute(f"alter table public.{table} disable trigger all")
            for statement in statements:
                self.connection.execute(statement, {"job": job})
            for table in ("jobs", "job_events"):
                self.connection.execute(f"alter table public.{table} enable trigger all")
            for table, guard in self.guards:
                self.connection.execute(f"alter table {table} enable replica trigger {guard}")


@pytest.fixture
def tamper(superuser: psycopg.Connection) -> Tamper:
    return Tamper(superuser)


@pytest.fixture
def three(jobs: Jobs, user: Callable[..., str], clock: Clock) -> list[str]:
    """Three jobs: finished (7 events), failed and waiting for a retry, waiting; ordered by id, as the audit reads them."""
    owner, gpu = user(), executor(jobs)
    found = [submit(jobs, owner, prompt=f"a lighthouse {n}") for n in range(3)]
    finish(jobs, claim(jobs, gpu))
    job = claim(jobs, gpu)
    jobs.advance(job, "generation_started")
    clock.advance(3)
    assert jobs.fail(job, "out_of_memory", "No memory.") == "retry_scheduled"
    return found


@pytest.fixture
def done(database: Database, three: list[str]) -> str:
    return next(job for job in three if row(database, job)["status"] == "completed")


def found(database: Database, heads: Path | None = None) -> list[tuple[str, str, int | None]]:
    report = audit(database, heads)
    for finding in report.findings:
        assert finding.kind in KINDS and finding.message.endswith(".")
        assert not finding.job_id or finding.job_id in finding.message
    return [(f.kind, f.job_id, f.version) for f in report.findings]


def test_an_unchanged_history_verifies(database: Database, three: list[str], tmp_path: Path) -> None:
    heads = tmp_path / "heads.jsonl"
    assert publish_heads(database, heads) == 3
    heard: list[int] = []
    report = audit(database, heads, on_progress=heard.append)
    assert (report.jobs, report.events, report.findings) == (3, len(events(database, *three)), ())
    assert heard == [3]


def test_an_empty_database_verifies(database: Database, tmp_path: Path) -> None:
    assert publish_heads(database, tmp_path / "heads") == 0
    report = audit(database, tmp_path / "heads")
    assert (report.jobs, report.events, report.findings) == (0, 0, ())


@pytest.mark.parametrize(
    "change",
    ["data = data || '{\"artifacts\": 99}'", "occurred_at = occurred_at - interval '1 s'", "actor = 'person:mallory'", "claim_no = 9",
     "type = 'cancelled', to_status = 'cancelled'", "type = 'nonsense'", "to_status = 'nonsense'", "occurred_at = 'infinity'",
     "occurred_at = '20000-01-01'"],
)  # fmt: skip
def test_a_changed_event_is_found(database: Database, done: str, tamper: Tamper, change: str) -> None:
    tamper(f"update public.job_events set {change} where job_id = %(job)s and version = 7", job=done)
    assert found(database) == [("altered", done, 7)]


def test_a_missing_event_is_found(database: Database, done: str, tamper: Tamper) -> None:
    tamper("delete from public.job_events where job_id = %(job)s and version = 3", job=done)
    assert found(database) == [("missing", done, 3)]


def test_missing_first_events_are_found(database: Database, done: str, tamper: Tamper) -> None:
    tamper("delete from public.job_events where job_id = %(job)s and version < 3", job=done)
    assert found(database) == [("missing", done, 1)]


def test_reordered_events_are_found(database: Database, done: str, tamper: Tamper) -> None:
    tamper(
        "update public.job_events set version = 100 where job_id = %(job)s and version = 3",
        "update public.job_events set version = 3 where job_id = %(job)s and version = 4",
        "update public.job_events set version = 4 where job_id = %(job)s and version = 100",
        job=done,
    )
    assert [f for f in found(database) if f[0] == "reordered"] == [("reordered", done, 3), ("reordered", done, 4)]


def test_an_event_that_does_not_link_to_its_predecessor_is_found(database: Database, done: str, three: list[str], tamper: Tamper) -> None:
    """An event whose hash is valid but does not follow from its predecessor: a spliced chain."""
    tamper(
        "update public.job_events as e set prev_hash = sha256('x'), hash = ourvidz.event_hash(sha256('x'), job_id, version, type,"
        " from_status, to_status, claim_no, actor, occurred_at, data) where job_id = %(job)s and version = 7",
        "update public.jobs set head_hash = (select hash from public.job_events where job_id = id and version = 7) where id = %(job)s",
        job=done,
    )
    assert found(database) == [("unlinked", done, 7)]


def test_a_row_that_differs_from_its_events_is_found(database: Database, done: str, tamper: Tamper) -> None:
    tamper("update public.jobs set errors = 3, user_id = gen_random_uuid() where id = %(job)s", job=done)
    (finding,) = audit(database).findings
    assert (finding.kind, finding.job_id) == ("row_differs", done)
    assert "errors is 3, its events say 0" in finding.message and "user_id is" in finding.message


@pytest.mark.parametrize(
    "change", ["updated_at = 'infinity'", "rank = 'NaN'", "final = true", "head_hash = sha256('x')", "created_at = '-infinity'"]
)
def test_a_change_of_any_folded_column_is_found(database: Database, done: str, tamper: Tamper, change: str) -> None:
    tamper(f"update public.jobs set {change} where id = %(job)s", job=done)
    assert [(kind, job) for kind, job, _ in found(database)] == [("row_differs", done)]


def test_a_deleted_jobs_row_is_found(database: Database, done: str, tamper: Tamper) -> None:
    tamper("delete from public.jobs where id = %(job)s", job=done)
    assert found(database) == [("row_missing", done, 7)]


def test_deletion_of_all_events_is_found(database: Database, done: str, tamper: Tamper) -> None:
    tamper("delete from public.job_events where job_id = %(job)s", job=done)
    assert found(database) == [("events_missing", done, None)]


ROLL_BACK = (
    "alter table public.images disable trigger user",
    "delete from public.images where job_id = %(job)s",  # it would show that the job had ended
    "delete from public.job_events where job_id = %(job)s and version = 7",
    """update public.jobs as j set (status, version, head_hash, updated_at, completed_at, executor_id, claimed_at, deadline)
         = (select t.status, t.version, t.head_hash, t.updated_at, t.completed_at, t.executor_id, t.claimed_at, t.deadline
            from (select (ourvidz.fold(e order by e.version)).* from public.job_events as e where e.job_id = j.id) as t)
       where id = %(job)s""",
)


def test_a_deleted_last_event_is_found_by_the_published_heads(database: Database, done: str, tamper: Tamper, tmp_path: Path) -> None:
    publish_heads(database, tmp_path / "heads")
    tamper(*ROLL_BACK, job=done)
    assert found(database) == []  # nothing inside the database shows it …
    assert found(database, tmp_path / "heads") == [("cut", done, 7)]  # … but the published heads do


def test_a_missing_job_is_found_by_the_published_heads(database: Database, done: str, tamper: Tamper, tmp_path: Path) -> None:
    publish_heads(database, tmp_path / "heads")
    tamper(*(f"delete from public.{t} where {c} = %(job)s" for t, c in
             (("artifacts", "job_id"), ("job_payloads", "job_id"), ("job_events", "job_id"), ("jobs", "id"))), job=done)  # fmt: skip
    assert found(database) == []
    assert found(database, tmp_path / "heads") == [("job_missing", done, 7)]


def test_a_rewritten_history_is_found_by_the_published_heads(database: Database, done: str, tamper: Tamper, tmp_path: Path) -> None:
    """Someone who knows the hash function can recompute all hashes, but not the published ones."""
    publish_heads(database, tmp_path / "heads")
    tamper(
        "update public.job_events set actor = 'person:mallory' where job_id = %(job)s and version = 7",
        "update public.job_events set hash = ourvidz.event_hash(prev_hash, job_id, version, type, from_status, to_status, claim_no,"
        " actor, occurred_at, data) where job_id = %(job)s and version = 7",
        "update public.jobs set head_hash = (select hash from public.job_events where job_id = id and version = 7) where id = %(job)s",
        job=done,
    )
    assert found(database) == []
    assert found(database, tmp_path / "heads") == [("rewritten", done, 7)]


def test_an_illegal_transition_with_valid_hashes_is_found(database: Database, three: list[str], tamper: Tamper) -> None:
    waiting = next(job for job in three if row(database, job)["version"] == 1)
    tamper(
        """insert into public.job_events (submitted_on, job_id, version, type, from_status, to_status, actor,
                                          occurred_at, data, prev_hash, hash)
           select submitted_on, id, 2, 'completed', 'queued', 'completed', 'person', updated_at, '{}', head_hash,
                  ourvidz.event_hash(head_hash, id, 2, 'completed', 'queued', 'completed', null, 'person', updated_at, '{}')
           from public.jobs where id = %(job)s""",
        job=waiting,
    )
    (finding,) = audit(database).findings
    assert (finding.kind, finding.version) == ("illegal", 2) and "queued → completed is no step of it" in finding.message


# -- the heads file ---------------------------------------------------------------------------------------------------------------


def test_only_changed_heads_are_published_again(database: Database, jobs: Jobs, three: list[str], tmp_path: Path) -> None:
    heads = tmp_path / "away" / "heads.jsonl"
    assert [publish_heads(database, heads), publish_heads(database, heads)] == [3, 0]
    before = heads.read_bytes()
    jobs.cancel(three[2])
    assert publish_heads(database, heads) == 1
    assert heads.read_bytes().startswith(before)
    assert json.loads(heads.read_bytes().splitlines()[-2])["job_id"] == three[2]
    assert found(database, heads) == []


def test_publication_does_not_skip_an_event_that_commits_late(database: Database, jobs: Jobs, three: list[str], tmp_path: Path) -> None:
    """Staged: an older transaction commits after a newer one was published."""
    heads = tmp_path / "heads"
    other = submit(jobs, new_user(database))  # its user's balance is not locked by the older one
    publish_heads(database, heads)
    waiting = next(job for job in three if row(database, job)["executor_id"] is None and row(database, job)["status"] == "queued")
    with database.driver() as slow, slow.transaction():
        slow.execute("select ourvidz.cancel(%s)", (waiting,))
        jobs.cancel(other)  # newer, and committed first
        assert publish_heads(database, heads) == 0  # waits for the older one
    assert publish_heads(database, heads) == 2
    assert found(database, heads) == []


@pytest.fixture
def published(database: Database, jobs: Jobs, three: list[str], tmp_path: Path) -> Path:
    heads = tmp_path / "heads"
    publish_heads(database, heads)
    jobs.cancel(three[2])
    publish_heads(database, heads)
    return heads


@pytest.mark.parametrize("number", range(6))
def test_a_removed_line_of_the_heads_file_is_found(database: Database, published: Path, number: int) -> None:
    lines = published.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6  # 3 heads and an end line, 1 head and an end line
    published.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
    assert [kind for kind, *_ in found(database, published)] == ["heads_damaged"]


def test_an_edited_or_reordered_heads_file_is_found(database: Database, published: Path) -> None:
    lines = published.read_bytes().splitlines(keepends=True)
    head = json.loads(lines[1])
    for changed in (
        [lines[0], json.dumps({**head, "hash": "ab" * 32}).encode() + b"\n", *lines[2:]],
        [lines[1], lines[0], *lines[2:]],
        [*lines[:2], lines[1], *lines[2:]],
        [*lines[:2], b"garbage\n", *lines[2:]],
        [*lines[:5], lines[5][:30]],  # truncated within a line
    ):
        published.write_bytes(b"".join(changed))
        assert ("heads_damaged", "", None) in found(database, published), changed


def test_an_interrupted_publication_is_completed(database: Database, published: Path) -> None:
    lines = published.read_bytes().splitlines(keepends=True)
    published.write_bytes(b"".join(lines[:4]) + lines[4][:20])
    assert publish_heads(database, published) == 1
    assert published.read_bytes() == b"".join(lines)
    assert found(database, published) == []


def test_publish_heads_does_not_overwrite_another_file(database: Database, three: list[str], tmp_path: Path) -> None:
    diary = tmp_path / "diary.txt"
    diary.write_text("Dear diary,\nno heads here.\n")
    with pytest.raises(HeadsDamaged):
        publish_heads(database, diary)
    assert diary.read_text() == "Dear diary,\nno heads here.\n"
    with pytest.raises(FileNotFoundError):
        audit(database, tmp_path / "nothing")


def test_concurrent_publications_are_serialised(database: Database, three: list[str], tmp_path: Path) -> None:
    counts: list[int] = []
    both = [threading.Thread(target=lambda: counts.append(publish_heads(database, tmp_path / "heads"))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(LIMIT)
    assert sorted(counts) == [0, 3]
    assert found(database, tmp_path / "heads") == []


def test_erasure_breaks_no_hash_chain(database: Database, three: list[str], tmp_path: Path) -> None:
    publish_heads(database, tmp_path / "heads")
    for table in ("images", "artifacts", "job_payloads"):
        database.rows(f"delete from public.{table}")
    assert found(database, tmp_path / "heads") == []


# -- rebuild ----------------------------------------------------------------------------------------------------------------------


def test_rebuild_corrects_wrong_rows(database: Database, jobs: Jobs, three: list[str], tamper: Tamper) -> None:
    before = {job: row(database, job) for job in three}
    tamper("update public.jobs set errors = 7, rank = -1, head_hash = sha256('x'), updated_at = now() where id = %(job)s", job=three[0])
    tamper(
        "update public.jobs set run_at = null, ready = null, executor_id = gen_random_uuid(), deadline = now() where id = %(job)s",
        job=three[2],
    )
    assert {f.job_id for f in rebuild(database, verify=True)} == {three[0], three[2]}
    assert row(database, three[0])["errors"] == 7  # verify alone changes nothing
    repaired = rebuild(database, verify=False)
    assert {(f.kind, f.job_id) for f in repaired} == {("row_differs", three[0]), ("row_differs", three[2])}
    assert all("was set to what the events tell" in f.message for f in repaired)
    assert {job: row(database, job) for job in three} == before
    assert rebuild(database, verify=False) == ()
    assert audit(database).findings == ()
    jobs.cancel(three[2])


def test_rebuild_restores_a_deleted_row(database: Database, jobs: Jobs, three: list[str], tamper: Tamper) -> None:
    before = {job: as_job(row(database, job)) for job in three}  # columns that no event sets are lost with the row
    for job in three:
        tamper("delete from public.jobs where id = %(job)s", job=job)
    assert {f.kind for f in rebuild(database, verify=False)} == {"row_missing"}
    assert {job: as_job(row(database, job)) for job in three} == before


def test_rebuild_does_not_use_a_broken_history(database: Database, done: str, three: list[str], tamper: Tamper) -> None:
    tamper("update public.job_events set actor = 'person:mallory' where job_id = %(job)s and version = 7", job=done)
    tamper("update public.jobs set errors = 7 where id = %(job)s", job=done)
    (finding,) = rebuild(database, verify=False)
    assert finding.kind == "altered" and "was set" not in finding.message
    assert row(database, done)["errors"] == 7


def guards(database: Database) -> set[tuple[str, str]]:
    return {(r["tgname"], r["tgenabled"]) for r in database.rows("select tgname, tgenabled from pg_trigger where not tgisinternal")}


def test_the_guards_are_on_again_after_a_rebuild(database: Database, three: list[str], tamper: Tamper) -> None:
    tamper("update public.jobs set errors = 7 where id = %(job)s", job=three[0])
    before = guards(database)
    rebuild(database, verify=False)
    assert guards(database) == before
    with pytest.raises(Exception, match="only by an event"):
        database.rows("update public.jobs set errors = 8 where id = %s", (three[0],))


def test_rebuild_gives_up_if_it_cannot_get_the_lock(
    database: Database, three: list[str], tamper: Tamper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ourvidz.db.history.LOCK_TIMEOUT", "100ms")
    tamper("update public.jobs set errors = 7 where id = %(job)s", job=three[0])
    with database.driver() as other, other.transaction():
        other.execute("lock table public.jobs in row exclusive mode")
        with pytest.raises(HistoryBusy, match="nothing was changed"):
            rebuild(database, verify=False)
    assert row(database, three[0])["errors"] == 7 and len(rebuild(database, verify=False)) == 1


def test_rebuild_keeps_changes_made_before_its_lock(
    database: Database, jobs: Jobs, three: list[str], tamper: Tamper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel arrives between the first comparison and the lock: the row is compared again under the lock."""
    import ourvidz.audit as module

    tamper("update public.jobs set errors = 7 where id = %(job)s", job=three[2])
    real = module.repairing

    def late(database: Database) -> object:
        tamper("update public.jobs set errors = 0 where id = %(job)s", job=three[2])
        jobs.cancel(three[2])
        return real(database)

    monkeypatch.setattr(module, "repairing", late)
    rebuild(database, verify=False)
    assert row(database, three[2])["status"] == "cancelled"
    assert audit(database).findings == ()


def test_memory_does_not_grow_with_the_history(database: Database, user: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ourvidz.db.history._BATCH", 100)

    sql = """select ourvidz.submit_batch(jsonb_agg(jsonb_build_object('user_id', %s::text, 'job_type', 'image_fast', 'prompt', 'x',
             'idempotency_key', %s || n))) from generate_series(1, %s) as n"""
    owner = user()

    def peak(key: str, number: int) -> int:
        database.rows(sql, (owner, key, number))
        tracemalloc.start()
        assert audit(database).findings == ()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak("a", 1)  # one-time allocations
    small, large = peak("b", 200), peak("c", 1_800)
    assert large < 1.3 * small, (small, large)
