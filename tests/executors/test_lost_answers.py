"""A connection that breaks during a statement, so that it may or may not be committed: every step still happens once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from cuttable_proxy import Wire
from executor_site import SEED, Breaks, CountingStore, ProbeShelf, Site
from support import Permissive

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs, NewJob
from ourvidz.storage.base import StorageUnavailable
from state.errors import VersionConflict

# Text that identifies each verb's statement. psycopg sends statement and parameters together, so event names work too.
VERBS = ["claim", "enhancement_started", "enhanced(", "generation_started", "artifact_generated(", "upload_started", "artifact_uploaded(",
         "complete("]  # fmt: skip


@pytest.fixture
def wire(site: Site) -> Iterator[Wire]:
    with Wire(site.db.url) as wire:
        yield wire


@pytest.fixture
def far(wire: Wire) -> Iterator[Jobs]:
    database = Database(wire.url)
    yield Jobs(database, Permissive(), patience=20)
    database.close()


def once_each(site: Site, job_id: str, *but: str) -> None:
    counts = Counter(site.types(job_id))
    # An image and its thumbnail: one event each.
    assert {event for event, n in counts.items() if n > 1} <= {"artifact_generated", "artifact_uploaded", *but}, counts
    assert counts["artifact_generated"] == counts["artifact_uploaded"] == 2


@pytest.mark.parametrize("answer", [True, False], ids=["answer", "statement"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_step_happens_once(site: Site, wire: Wire, far: Jobs, verb: str, answer: bool) -> None:
    job_id = site.submit("image7b_fast_enhanced")
    wire.lose(verb if verb.islower() and verb.endswith("started") else f"ourvidz.{verb}", answer=answer)
    shelf = site.work(job_id, jobs=far)
    assert wire.lost == 1
    site.completed(job_id)
    # An executor that may hold an unknown job leaves and registers under a new id: that job is claimed again.
    once_each(site, job_id, *(("claimed",) if verb == "claim" else ()))
    assert shelf.wan.seeds == [SEED]
    assert site.row(job_id)["crashes"] == (verb == "claim" and answer)


@pytest.mark.parametrize("answer", [True, False], ids=["answer", "statement"])
def test_a_skipped_enhancement_is_recorded_once(site: Site, wire: Wire, far: Jobs, answer: bool) -> None:
    shelf = ProbeShelf(site.loaded)
    shelf._enhancer = Breaks()  # type: ignore[assignment]
    job_id = site.submit("image7b_fast_enhanced")
    wire.lose("enhancement_skipped", answer=answer)
    site.work(job_id, jobs=far, shelf=shelf)
    assert wire.lost == 1
    once_each(site, job_id)


@pytest.mark.parametrize("answer", [True, False], ids=["answer", "statement"])
def test_a_report_of_failure_counts_once(site: Site, wire: Wire, far: Jobs, answer: bool) -> None:
    store = CountingStore(site.root / "store")
    left = [StorageUnavailable("no answer")]
    store.trouble = lambda _: (_ for _ in ()).throw(left.pop()) if left else None
    job_id = site.submit()
    wire.lose("ourvidz.fail", answer=answer)
    site.work(job_id, jobs=far, store=store)
    assert (wire.lost, site.row(job_id)["errors"]) == (1, 1)
    site.completed(job_id)


@pytest.mark.parametrize("answer", [True, False], ids=["answer", "statement"])
def test_snooze_cancel_retry_and_reprioritise_happen_once(site: Site, wire: Wire, far: Jobs, answer: bool) -> None:
    executor = far.register("far", "host", 1, ["sdxl"])
    first, second = site.submit(), site.submit()
    (claim,) = far.claim(executor)
    wire.lose("ourvidz.snooze", answer=answer)
    far.snooze(claim, "drain", 60)
    assert site.types(first).count("snoozed") == 1
    (claim,) = far.claim(executor)
    wire.lose("ourvidz.cancel", answer=answer)
    assert far.cancel(second, version=2) == "cancel_requested"
    wire.lose("ourvidz.honour_cancel", answer=answer)
    far.honour_cancel(claim)
    assert site.types(second)[2:] == ["cancel_requested", "cancelled"]
    wire.lose("ourvidz.retry", answer=answer)
    far.retry(second, version=4)
    assert site.types(second)[4:] == ["retried"]
    wire.lose("ourvidz.reprioritise", answer=answer)
    far.reprioritise(second, 7, version=5)
    assert site.types(second)[5:] == ["reprioritised"]
    assert wire.lost == 5
    with pytest.raises(VersionConflict):  # a conflict caused by somebody else is still reported
        far.retry(second, version=4)


@pytest.mark.parametrize("answer", [True, False], ids=["answer", "statement"])
def test_a_submit_makes_one_job(site: Site, wire: Wire, far: Jobs, answer: bool) -> None:
    wire.lose("ourvidz.submit_batch", answer=answer)
    job_id = far.submit(NewJob(site.user, "sdxl_image_fast", "a lighthouse")).id
    assert [str(r["id"]) for r in site.db.rows("select id from public.jobs")] == [job_id]


def test_a_connection_closed_while_idle_is_not_ambiguous(site: Site, far: Jobs) -> None:
    """A restarted server has closed them all. That is noticed before a statement is sent, so nothing is ambiguous."""
    executor = far.register("far", "host", 1, ["sdxl"])
    site.db.rows(
        "select pg_terminate_backend(pid, 2000) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )
    assert far.claim(executor) == []  # not Ambiguous


@pytest.mark.parametrize("answer", [True, False], ids=["answer", "statement"])
def test_jobs_that_start_together_start_once_each(site: Site, wire: Wire, far: Jobs, answer: bool) -> None:
    ids = [site.submit() for _ in range(3)]
    executor = far.register("first", "host", 1, ["sdxl"], {})
    claims = [claim for _ in ids for claim in far.claim(executor, lanes=["sdxl"], resident=[])]
    wire.lose("advance_batch", answer=answer)
    assert sorted(far.advance_many(claims, "generation_started")) == sorted(ids)
    assert wire.lost == 1
    assert [site.types(job_id).count("generation_started") for job_id in ids] == [1, 1, 1]
