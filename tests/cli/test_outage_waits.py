"""Commands during a database outage: `jobs watch` waits until it is back, `submit` reports after a while that nothing was queued."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from cli_command import Command
from sqlalchemy.exc import OperationalError
from support import Server, Switch, claim, executor, finish, submit
from waiting import LIMIT, wait_for

from ourvidz.cli import live, main
from ourvidz.config import config
from ourvidz.db import connection, wait_ready
from ourvidz.db.connection import Database, DatabaseReadOnly
from ourvidz.lifecycle import Jobs

pytestmark = pytest.mark.new_database
User = Callable[..., str]


@pytest.fixture
def closed(server: Server, database_name: str) -> Iterator[Callable[[bool], None]]:
    """Make this database refuse connections, as in maintenance, and end the open ones."""

    def close(yes: bool) -> None:
        server.admin(f"alter database {{}} allow_connections {not yes}", database_name)
        if yes:
            Switch(server, database_name).end_sessions()

    yield close
    close(False)


def test_watch_resumes_after_a_database_outage(
    database: Database, jobs: Jobs, user: User, closed: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    job, gpu = submit(jobs, user()), executor(jobs)
    held, watching, ended = claim(jobs, gpu), Database(database.url), []
    thread = threading.Thread(target=lambda: ended.append(live.follow(watching, job, math.inf)))
    thread.start()
    wait_for(lambda: watching.engine.pool.checkedin() == 1, "for it to look")  # type: ignore[attr-defined]
    closed(True)
    wait_for(lambda: watching.trouble_at is not None, "for it to find the database away")
    closed(False)
    finish(jobs, held)
    thread.join(LIMIT)
    watching.close()
    assert [row["status"] for row in ended] == ["completed"]
    assert "waiting for the database" in capsys.readouterr().err


def test_submit_gives_up_after_its_own_limit(
    server: Server,
    database_name: str,
    database: Database,
    user: User,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It retries, and gives up when the next try would come too late."""
    someone, switch = user(), Switch(server, database_name)
    monkeypatch.setattr(connection, "PATIENCE", 0.5)
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("OURVIDZ_HOME", str(tmp_path))
    config.cache_clear()
    switch.read_only(on=True)
    try:
        monkeypatch.setattr(sys, "argv", ["answers", "writes"])
        assert wait_ready.main() == 1  # the question that deploy/start.sh asks before it migrates
        with pytest.raises(DatabaseReadOnly, match=r"Nothing was queued\. The database takes no writes") as refused:
            main.app(["submit", "sdxl_image_fast", "--prompt", "a harbour", "--user", someone], standalone_mode=False)
        assert "Waiting for it" in caplog.text
        assert main.tell(refused.value) == 1
    finally:
        config.cache_clear()
        switch.read_only(on=False)
    assert wait_ready.main() == 0
    assert database.rows("select count(*)::int as n from public.jobs")[0]["n"] == 0


def test_a_reaper_that_starts_in_an_outage_waits_and_then_works(ourvidz: Command, closed: Callable[[bool], None]) -> None:
    closed(True)
    with ourvidz.start("reaper") as process:
        try:
            assert process.stderr is not None
            assert "cannot be reached" in process.stderr.readline()
            closed(False)
            assert "The reaper is at work." in process.stderr.readline()
        finally:
            process.terminate()
    assert process.returncode == 0


def test_a_lock_timeout_is_not_reported_as_an_outage(capsys: pytest.CaptureFixture[str]) -> None:
    held = OperationalError("lock table", {}, psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"))
    assert main.tell(held) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "undid this: canceling statement due to lock timeout" in said and "cannot be reached" not in said
