"""`ourvidz deliver` and `ourvidz videos` as run from a shell."""

from __future__ import annotations

import http.server
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_command import Command
from support import artifact, claim, executor, finish, new_user, submit
from waiting import LIMIT, wait_for

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append(self.headers["webhook-id"])  # type: ignore[attr-defined]
        self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def receiver() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(LIMIT)


WORD = "thirty-two-characters-of-a-word!"
SECRET = {"MINE_SECRET": WORD}


def done(jobs: Jobs) -> str:
    job_id = submit(jobs, new_user(jobs.db, "premium"))
    finish(jobs, claim(jobs, executor(jobs)))
    return job_id


def test_a_message_is_listed_and_delivered(ourvidz: Command, jobs: Jobs, receiver: Any) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}"
    assert "Nobody is told" in ourvidz("deliver", "receivers", "ls").err
    assert "hears of completed, failed, cancelled" in ourvidz("deliver", "receivers", "add", "mine", url + "/none").err
    job_id = done(jobs)
    assert ourvidz("deliver", "run", "--once").err.strip().startswith("The deliverer is at work.\nMessages for mine wait: MINE_SECRET")
    told = ourvidz("deliver", "run", "--once", **SECRET)
    assert told.code == 0 and "0 messages delivered, 1 to be tried again" in told.err
    (failed,) = ourvidz("deliver", "ls", "--failed", "--json").json
    assert (failed["job_id"], failed["state"], failed["last_error"], failed["attempts"]) == (job_id, "waiting", "it answered 404", 1)
    assert ourvidz("deliver", "ls", "--dead", "--json").json == []

    changed = ourvidz("deliver", "receivers", "add", "mine", url, "--processing", "--json").json
    assert (changed["url"], changed["events"][0]) == (url, "processing")
    refused = ourvidz("deliver", "redeliver", "--job", job_id)
    assert refused.code == 2 and "--yes" in refused.err
    assert ourvidz("deliver", "redeliver", "--job", job_id, "--dry-run", "--json").json["would"] == [failed["id"]]
    assert ourvidz("deliver", "redeliver", failed["id"][:8]).code == 0
    assert "1 message delivered" in ourvidz("deliver", "run", "--once", **SECRET).err
    assert receiver.seen == [f"msg_{failed['id']}"] * 2
    (line,) = ourvidz("deliver", "ls", "--job", job_id[:8]).lines
    assert line[:5] == [failed["id"], "mine", job_id, "completed", "delivered"]


def test_receivers_are_tested_enabled_and_disabled(ourvidz: Command, receiver: Any) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}"
    ourvidz("deliver", "receivers", "add", "mine", url, "--secret-env", "MINE")
    assert ourvidz("deliver", "receivers", "test", "mine").code == 2
    assert ourvidz("deliver", "receivers", "test", "mine", "--json", MINE=WORD).json == {
        "receiver": "mine",
        "status": 200,
        "error": None,
    }
    ourvidz("deliver", "receivers", "add", "mine", url + "/none")
    answer = ourvidz("deliver", "receivers", "test", "mine", MINE=WORD)
    assert (answer.code, answer.err.strip()) == (1, "mine: it answered 404.")
    assert "mine is disabled" in ourvidz("deliver", "receivers", "disable", "mine").err
    listed = ourvidz("deliver", "receivers", "ls")
    assert listed.lines[0][:2] == ["mine", "disabled"] and "mine is disabled: by person" in listed.err
    assert ourvidz("deliver", "receivers", "enable", "mine", "--json").json["enabled"]


def test_invalid_receivers_are_refused(ourvidz: Command) -> None:
    for args, code in (
        (["receivers", "add", "mine"], 1),
        (["receivers", "add", "mine", "http://example.com"], 2),
        (["receivers", "enable", "mine"], 1),
        (["redeliver"], 2),
        (["redeliver", "--dead", "--job", "3f2a"], 2),
        (["redeliver", "1"], 2),
        (["redeliver", "0123abcd"], 1),
    ):
        answer = ourvidz("deliver", *args)
        assert (answer.code, answer.out) == (code, ""), args
        assert answer.err.startswith("error: "), args


@pytest.mark.parametrize("command", [["deliver", "run", "--once"], ["up"], ["up", "--dry-run"]])
def test_a_secret_that_cannot_sign_is_refused_by_name_at_the_start(ourvidz: Command, command: list[str]) -> None:
    """A partial paste: the dashboard shows v1,whsec_…"""
    for held, said in (("v1", "only the version in front"), ("whsec_aGVsbG8=", "5 bytes can be guessed"), (f'"{WORD}"', "quotes")):
        answer = ourvidz(*command, CALLBACK_SECRET=held)
        assert answer.code == 1 and "CALLBACK_SECRET: a secret" in answer.err and said in answer.err, answer.err
        assert WORD not in answer.err


def test_it_stops_on_sigterm_and_creates_the_projects_receiver(ourvidz: Command, database: Database, receiver: Any, jobs: Jobs) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}"
    running = Command(ourvidz.env | {"CALLBACK_SECRET": WORD, "SUPABASE_URL": url}, ourvidz.cwd).start("deliver", "run")
    try:
        assert running.stderr is not None
        assert f"job-callback is told of jobs at {url}/functions/v1/job-callback." in running.stderr.readline()
        assert "The deliverer is at work." in running.stderr.readline()
        running.send_signal(signal.SIGTERM)
        assert running.wait(LIMIT) == 0
    finally:
        running.kill()
        running.wait(LIMIT)
        for pipe in (running.stdout, running.stderr):
            assert pipe is not None
            pipe.close()
    assert [r["name"] for r in database.rows("select name from ourvidz.receivers")] == ["job-callback"]


@pytest.mark.parametrize("once", [True, False])
def test_it_deletes_objects_of_removed_outputs(ourvidz: Command, database: Database, jobs: Jobs, tmp_path: Path, once: bool) -> None:
    job_id = done(jobs)
    (row,) = database.rows("update public.artifacts set deleted_at = now() where job_id = %s returning bucket, path", (job_id,))
    shelf = tmp_path / "shelf"
    kept = Command(ourvidz.env | {"OURVIDZ_STORAGE": str(shelf)}, ourvidz.cwd)
    thing = shelf / row["bucket"] / row["path"]
    thing.parent.mkdir(parents=True)
    thing.write_bytes(b"picture")
    if once:
        assert "1 object of outputs that were deleted or taken down removed." in kept("deliver", "run", "--once").err
    else:
        running = kept.start("deliver", "run")
        try:
            wait_for(lambda: not database.rows("select 1 from ourvidz.removals"), "for the object to be removed")
        finally:
            running.kill()
            running.communicate(timeout=LIMIT)
    assert not thing.exists() and database.rows("select 1 from ourvidz.removals") == []


def test_messages_are_delivered_without_a_usable_store(ourvidz: Command, database: Database, tmp_path: Path) -> None:
    tmp_path.joinpath("a-file").write_text("")
    told = ourvidz("deliver", "run", "--once", OURVIDZ_STORAGE=str(tmp_path / "a-file"))
    assert told.code == 0 and "stay where they are" in told.err and "0 messages delivered" in told.err


def test_a_scene_is_shown_and_its_preview_approved(ourvidz: Command, database: Database, jobs: Jobs) -> None:
    owner = new_user(database, "premium")
    scene = database.rows("insert into public.videos (user_id) values (%s) returning id::text", (owner,))[0]["id"]
    refused = ourvidz("videos", "approve", scene[:8])
    assert refused.code == 1 and "not made yet" in refused.err
    submit(jobs, owner, video_id=scene)
    job = claim(jobs, executor(jobs))
    finish(jobs, job)
    made = artifact(job)
    shown = dict(ourvidz("videos", "show", scene[:8]).lines)
    assert (shown["status"], shown["preview"]) == ("preview_ready", f"{made['bucket']}/{made['path']}")
    first = ourvidz("videos", "approve", scene[:8], "--type", "video_fast", "--charge", "--json").json
    assert first["created"] and not ourvidz("videos", "approve", scene, "--type", "video_fast", "--charge", "--json").json["created"]
    assert ourvidz("videos", "show", scene, "--json").json["video_job_id"] == first["job_id"]
    assert (ourvidz("videos", "show", "1").code, ourvidz("videos", "show", "zzzz").code) == (2, 1)
