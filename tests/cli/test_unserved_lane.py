"""Waiting for a job that no executor can take: the command says so and ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cli_command import Command
from support import executor, submit

from ourvidz.cli.lane_wait import Watch, seconds
from ourvidz.cli.out import Problem
from ourvidz.db import queries
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

User = Callable[..., str]


def test_submit_wait_ends_when_nobody_serves_the_lane(ourvidz: Command, database: Database, user: User) -> None:
    answer = ourvidz("submit", "video_fast", "-p", "waves", "--user", user(), "--wait", "--patience", "1s", "--json")
    assert (answer.code, answer.out) == (1, "")
    (row,) = database.rows("select id::text, status from public.jobs")
    assert row["status"] == "queued"
    for said in (row["id"][:8], "lane wan in 1.0 s", "No executor is alive", "`ourvidz up`", "`ourvidz worker --lanes wan`", "jobs cancel"):
        assert said in answer.err, said


def test_jobs_watch_says_who_is_there_and_serves_what(ourvidz: Command, jobs: Jobs, user: User) -> None:
    executor(jobs, "gpu0", lanes=["sdxl", "sdxl_ip"])
    job_id = submit(jobs, user(), "video_fast")
    answer = ourvidz("jobs", "watch", job_id[:8], "--patience", "0")
    assert answer.code == 1 and "gpu0 (sdxl, sdxl_ip; active)" in answer.err and "lane wan" in answer.err


def test_help_documents_patience(ourvidz: Command) -> None:
    for command in (("submit", "--help"), ("jobs", "watch", "--help")):
        shown = ourvidz(*command).out
        assert "--patience" in shown and "2m" in shown and "exit code 1" in " ".join(shown.split())
    assert ourvidz("submit", "video_fast", "-p", "x", "--wait", "--patience", "soon").err.rstrip().endswith("Or `never`.")
    assert seconds("never") == float("inf") and seconds("90") == 90


def test_it_keeps_waiting_while_the_job_may_be_claimed(database: Database, jobs: Jobs, user: User) -> None:
    """No giving up while the lane is served, the job is held, or the time is not over."""

    def look(watch: Watch, job_id: str) -> bool:
        (row,) = queries.by_ids(database, [job_id])
        return watch.look(row)

    job_id = submit(jobs, user(), "video_fast")
    assert look(Watch(database, 3600), job_id) and look(Watch(database, float("inf")), job_id)
    watch = Watch(database, 0.2)
    assert look(watch, job_id)
    device = executor(jobs, "gpu0", lanes=["wan"])
    assert not look(watch, job_id) and watch.waiting_since is None  # the time starts again if this executor leaves
    assert jobs.claim(device)
    jobs.drain(device)
    assert not look(watch, job_id)  # a draining executor still has it
    other = submit(jobs, user(), "video_fast")
    with pytest.raises(Problem, match="gpu0"):
        look(Watch(database, 0), other)
