"""Retry and cancel: by id at the version seen, by filter after a preview."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cli_command import Command
from support import claim, executor, new_user, row, submit, types

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

User = Callable[..., str]


@pytest.fixture
def failed(jobs: Jobs, user: User) -> list[str]:
    """Three jobs that timed out, one of another type that ran out of memory, one refused for good."""
    owner, device, ids = user("premium"), executor(jobs), []
    for job_type, error, final in [("sdxl_image_fast", "timeout", False)] * 3 + [
        ("image_fast", "out_of_memory", False),
        ("image_fast", "refused_content", True),
    ]:
        ids.append(submit(jobs, owner, job_type))
        jobs.fail(claim(jobs, device), error, "It did not work.", retryable=False, final=final)
    return ids


def statuses(db: Database, ids: list[str]) -> list[str]:
    return [row(db, job_id)["status"] for job_id in ids]


def test_a_dry_run_changes_nothing(ourvidz: Command, database: Database, failed: list[str]) -> None:
    answer = ourvidz("jobs", "retry", "--error-class", "timeout", "--dry-run")
    assert answer.code == 0
    assert sorted(answer.out.split()) == sorted(failed[:3])
    assert "3  sdxl_image_fast" in answer.err
    assert "Would retry 3 jobs. Nothing was done." in answer.err
    assert set(ourvidz("jobs", "retry", "--all", "--dry-run", "--json").json["would"]) == set(failed[:4])
    assert statuses(database, failed) == ["failed"] * 5


def test_a_filter_requires_confirmation(ourvidz: Command, database: Database, failed: list[str]) -> None:
    silent = ourvidz("jobs", "retry", "--error-class", "timeout")
    assert (silent.code, silent.out) == (2, "")
    assert "--yes" in silent.err
    assert ourvidz.in_terminal("jobs", "retry", "--error-class", "timeout", typed="n\n").code == 1
    assert statuses(database, failed) == ["failed"] * 5
    assert ourvidz.in_terminal("jobs", "retry", "--error-class", "timeout", typed="y\n").code == 0
    assert statuses(database, failed) == ["queued"] * 3 + ["failed"] * 2


def test_retry_by_filter_skips_final_failures(ourvidz: Command, database: Database, failed: list[str]) -> None:
    answer = ourvidz("jobs", "retry", "--all", "--yes", "--json")
    assert answer.code == 0
    assert set(answer.json["done"]) == set(failed[:4])
    assert statuses(database, failed) == ["queued"] * 4 + ["failed"]
    assert types(database, failed[0])[-1] == "retried"


def test_limit_takes_the_oldest(ourvidz: Command, failed: list[str]) -> None:
    assert ourvidz("jobs", "retry", "--error-class", "timeout", "--limit", "2", "--dry-run").out.split() == failed[:2]


def test_retry_by_id(ourvidz: Command, database: Database, failed: list[str]) -> None:
    assert ourvidz("jobs", "retry", failed[0][:8], failed[3]).code == 0
    assert statuses(database, failed) == ["queued", "failed", "failed", "queued", "failed"]
    refused = ourvidz("jobs", "retry", failed[4])
    assert refused.code == 1
    assert "no retry may follow" in refused.err
    again = ourvidz("jobs", "retry", failed[0])
    assert again.code == 1
    assert "may not be retried" in again.err and "What may follow: cancel, reroute, reprioritise" in again.err


def test_cancel(ourvidz: Command, database: Database, jobs: Jobs, user: User) -> None:
    waiting, running = submit(jobs, user()), submit(jobs, user(), "image_fast")
    claim(jobs, executor(jobs, lanes=["wan"]))
    answer = ourvidz("jobs", "cancel", waiting, running, "--json")
    assert answer.json == {"action": "cancel", "dry_run": False, "done": [waiting, running], "refused": []}
    assert statuses(database, [waiting, running]) == ["cancelled", "queued"]
    assert row(database, running)["cancel_requested"]
    assert ourvidz("jobs", "cancel", "--status", "completed", "--yes").code == 0


def test_reroute(ourvidz: Command, database: Database, jobs: Jobs, user: User) -> None:
    one, two, batch = submit(jobs, user()), submit(jobs, user(), "sdxl_image_high"), submit(jobs, user(), settings={"images": 3})
    wan, taken = submit(jobs, user(), "image_fast"), submit(jobs, user("premium"))
    assert claim(jobs, executor(jobs, lanes=["sdxl"])).job_id == taken
    dry = ourvidz("jobs", "reroute", "--all", "--dry-run")
    assert (dry.code, sorted(dry.out.split())) == (0, sorted([one, two]))  # exactly what the real run does
    assert "2  left out: no fallback, or on an executor" in dry.err and "it is a batch of 3" in dry.err
    told = ourvidz("jobs", "reroute", "--all", "--dry-run", "--json").json
    assert (sorted(told["would"]), [r["id"] for r in told["refused"]]) == (sorted([one, two]), [batch])
    assert types(database, one) == types(database, batch) == ["submitted"]
    answer = ourvidz("jobs", "reroute", one, batch)
    assert answer.code == 1 and "1 job rerouted" in answer.err
    assert "it is a batch of 3, and a image_fast makes one image a job" in answer.err
    assert ourvidz("jobs", "reroute", "--type", "sdxl_image_high", "--yes", "--json").json["done"] == [two]
    assert [row(database, job_id)["job_type"] for job_id in (one, two, batch, wan, taken)] == [
        "image_fast", "image_high", "sdxl_image_fast", "image_fast", "sdxl_image_fast",
    ]  # fmt: skip
    assert "image_fast" in ourvidz("jobs", "show", one).out


def test_dry_runs_match_real_runs(ourvidz: Command, database: Database, jobs: Jobs, user: User, failed: list[str]) -> None:
    """Users who lack tokens, are no longer verified, or whose jobs have ended meanwhile."""
    poor = new_user(database, tokens=1)
    spent = submit(jobs, poor)
    jobs.fail(claim(jobs, executor(jobs, "gpu1")), "timeout", "It did not work.", retryable=False)
    submit(jobs, poor)
    unverified = user()
    waiting = submit(jobs, unverified), submit(jobs, unverified, "sdxl_image_high")
    database.rows("update public.profiles set age_verified = false where id = %s", (unverified,))
    for verb, more in (("retry", ["--charge"]), ("retry", []), ("reroute", []), ("cancel", [])):
        before = database.rows("select count(*) as n, max(version) as v from public.job_events")
        dry = ourvidz("jobs", verb, "--all", "--dry-run", "--json", *more).json
        assert database.rows("select count(*) as n, max(version) as v from public.job_events") == before
        done = ourvidz("jobs", verb, "--all", "--yes", "--json", *more).json
        assert (dry["would"], dry["refused"]) == (done["done"], done["refused"]), (verb, more)
        assert verb != "retry" or (spent in [one["id"] for one in dry["refused"]]) == bool(more)
    assert statuses(database, list(waiting)) == ["cancelled"] * 2


def test_selection_requires_ids_or_a_filter(ourvidz: Command, failed: list[str]) -> None:
    assert "Which jobs?" in ourvidz("jobs", "cancel").err
    assert "not both" in ourvidz("jobs", "cancel", failed[0], "--all").err
    assert ourvidz("jobs", "cancel", "--type", "nonsense", "--dry-run").code == 2
