"""Job lists and single jobs: for a terminal, for a pipe, as JSON."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from cli_command import Command
from support import claim, executor, finish, submit
from waiting import LIMIT

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

User = Callable[..., str]
AAAA, AAAB = "aaaa0000-0000-4000-8000-000000000001", "aaaa0000-0000-4000-8000-000000000002"


@pytest.fixture
def some(jobs: Jobs, user: User) -> dict[str, str]:
    """One job per final status and one queued, by status."""
    owner, device = user("premium"), executor(jobs)
    done = submit(jobs, owner, id=AAAA)
    finish(jobs, claim(jobs, device))
    failed = submit(jobs, owner, "image_fast")
    jobs.fail(claim(jobs, device), "out_of_memory", "The device ran out of memory.", retryable=False)
    queued = submit(jobs, owner, "video_fast", id=AAAB)
    return {"completed": done, "failed": failed, "queued": queued, "owner": owner}


def test_a_pipe_gets_tabs_and_untruncated_values(ourvidz: Command, some: dict[str, str]) -> None:
    answer = ourvidz("jobs", "ls")
    assert answer.code == 0
    assert {line[0]: line[2] for line in answer.lines} == {some[s]: s for s in ("completed", "failed", "queued")}
    assert {len(line) for line in answer.lines} == {7}
    assert all(line[3].endswith("Z") for line in answer.lines)


def test_a_terminal_gets_a_table(ourvidz: Command, some: dict[str, str]) -> None:
    answer = ourvidz.in_terminal("jobs", "ls")
    heading, *rows = answer.plain.splitlines()
    assert heading.split() == ["id", "type", "status", "submitted", "took", "attempts", "error"]
    assert len(rows) == 3
    assert "\x1b[" in answer.out
    assert some["failed"] not in answer.plain
    assert some["failed"][:8] in answer.plain
    assert "✗ failed" in answer.plain


def test_no_color(ourvidz: Command, some: dict[str, str]) -> None:
    coloured = [code for code in ("\x1b[31m", "\x1b[32m", "\x1b[36m") if code in ourvidz.in_terminal("jobs", "ls", NO_COLOR="1").out]
    assert coloured == []
    assert "\x1b[31m" in ourvidz.in_terminal("jobs", "ls").out


def test_filters(ourvidz: Command, some: dict[str, str], user: User) -> None:
    def ids(*args: str) -> set[str]:
        return {row["id"] for row in ourvidz("jobs", "ls", "--json", *args).json}

    assert ids("--status", "failed") == {some["failed"]}
    assert ids("--status", "failed", "--status", "queued") == {some["failed"], some["queued"]}
    assert ids("--type", "video_fast") == {some["queued"]}
    assert ids("--error-class", "out_of_memory") == {some["failed"]}
    assert ids("--user", user()) == set()
    assert len(ids("--since", "1h")) == 3
    assert ids("--since", "2099-01-01") == set()
    assert ids("--limit", "1") == {some["queued"]}
    for wrong in (["--status", "done"], ["--type", "video"], ["--since", "noon"], ["--user", "me"]):
        assert ourvidz("jobs", "ls", *wrong).code == 2


def test_json_of_a_list(ourvidz: Command, some: dict[str, str]) -> None:
    rows = {row["id"]: row for row in ourvidz("jobs", "ls", "--json").json}
    row = rows[some["failed"]]
    assert (row["status"], row["error_class"], row["attempts"], row["final"]) == ("failed", "out_of_memory", 1, False)
    assert not {"prompt", "negative_prompt", "metadata"} & set(row)


def test_show(ourvidz: Command, some: dict[str, str]) -> None:
    seen = ourvidz.in_terminal("jobs", "show", some["completed"]).plain
    for word in (
        "✓ completed",
        some["completed"],
        "a lighthouse at dusk",
        "15 steps · 1024×1024",
        "Timeline",
        "generation_started",
        "1-0-image.png",
    ):
        assert word in seen
    shown = ourvidz("jobs", "show", some["completed"], "--json").json
    assert shown["prompt"] == "a lighthouse at dusk"
    assert [e["type"] for e in shown["events"]] == [
        "submitted", "claimed", "generation_started", "artifact_generated", "upload_started", "artifact_uploaded", "completed",
    ]  # fmt: skip
    assert isinstance(shown["events"][0]["lasted"], float)
    assert shown["artifacts"][0]["file"].endswith(shown["artifacts"][0]["path"])
    failed = ourvidz("jobs", "show", some["failed"]).out
    assert "error\tout_of_memory: The device ran out of memory." in failed


def test_id_prefixes_are_accepted(ourvidz: Command, some: dict[str, str]) -> None:
    assert ourvidz("jobs", "show", some["failed"][:8], "--json").json["id"] == some["failed"]
    assert ourvidz("jobs", "show", some["failed"].replace("-", "").upper()[:12], "--json").json["id"] == some["failed"]
    both = ourvidz("jobs", "show", "aaaa")
    assert (both.code, both.out) == (2, "")
    assert AAAA in both.err
    assert AAAB in both.err
    assert ourvidz("jobs", "show", "aaa").code == 2
    for absent in ("bbbb0000", "zzzz", "%%%%", "aaaa0000-0000-4000-8000-00000000000100"):
        answer = ourvidz("jobs", "show", absent)
        assert answer.code == 1
        assert "There is no job" in answer.err


def test_watch_ends_with_the_job(ourvidz: Command, some: dict[str, str]) -> None:
    done = ourvidz("jobs", "watch", some["completed"])
    assert done.code == 0
    assert done.out.endswith("1-0-image.png\n")
    failed = ourvidz("jobs", "watch", some["failed"], "--json")
    assert failed.code == 1
    assert (failed.json["status"], failed.json["error"]) == ("failed", "The device ran out of memory.")


def test_watch_shows_the_steps(ourvidz: Command, jobs: Jobs, database: Database, user: User) -> None:
    job_id, device = submit(jobs, user()), executor(jobs)
    watching = ourvidz.start("jobs", "watch", job_id)
    assert watching.stderr is not None
    assert "queued" in watching.stderr.readline()
    held = claim(jobs, device)
    jobs.advance(held, "generation_started")
    jobs.heartbeat(device, info={"job": job_id, "stage": "generating", "done": 4, "total": 15})
    assert "generating" in watching.stderr.readline()
    jobs.fail(held, "bad_output", "Noise.", retryable=False)
    _, err = watching.communicate(timeout=LIMIT)
    assert watching.returncode == 1
    assert "bad_output: Noise." in err
    assert f"ourvidz jobs retry {job_id[:8]}" in err


def test_a_closed_pipe_ends_quietly(ourvidz: Command, jobs: Jobs, user: User) -> None:
    owner = user("premium")
    for _ in range(3):
        submit(jobs, owner)
    for args in (["jobs", "ls"], ["jobs", "ls", "--json"], ["events", "tail", "--limit", "1000"]):
        process = ourvidz.start(*args)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.wait(LIMIT)


def test_ctrl_c(ourvidz: Command, jobs: Jobs, user: User) -> None:
    process = ourvidz.start("jobs", "watch", submit(jobs, user()))
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert "Traceback" not in err
