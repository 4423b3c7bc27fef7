"""Events that Realtime would send to the screen. Its server cannot run here, but its sources can be read: the publication's changes in the
WAL, and `realtime.messages`. A tile appears only by an UPDATE of images or videos to completed, for that user (CLIENTS.md §2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from production_copy import ANNA, migrated, production_database
from support import Permissive, Server, artifact, claim, executor
from waiting import wait_for

from ourvidz.db.connection import Database
from ourvidz.db.embedded import EmbeddedPostgres, status
from ourvidz.lifecycle import Jobs

from .replication_slot import Change, Slot

PROMPT = "a lighthouse at dusk"
CLAIMS = json.dumps({"sub": ANNA, "role": "authenticated"})


class Screen:
    """A user's requests as SQL with their PostgREST privileges, and the changes received since."""

    def __init__(self, connection: psycopg.Connection, database: Database) -> None:
        self.connection, self.database = connection, database
        self.slot = Slot(connection)

    def ask(self, statement: str, *given: Any) -> Any:
        with self.connection.transaction():
            self.connection.execute("set local role authenticated")
            self.connection.execute(
                "select set_config('request.jwt.claims', %s, true)", (json.dumps({"sub": ANNA, "role": "authenticated"}),)
            )
            found = self.connection.execute(statement.encode(), given)
            return found.fetchone()[0] if found.description else None  # type: ignore[index]

    def queue(self, job_type: str, images: int = 1) -> str:
        told = json.dumps({"prompt": PROMPT, "num_images": images})
        sql = "insert into public.jobs (user_id, job_type, metadata, status) values (%s, %s, %s::jsonb, 'queued') returning id::text"
        return str(self.ask(sql, ANNA, job_type, told))

    def heard(self, table: str, row: str) -> list[tuple[str, str | None]]:
        """Verb and status of each change of that row that a listener with the filter user_id=eq.… receives."""
        return [
            (c.verb, c.row.get("status"))
            for c in self.changes
            if c.table == table and c.row.get("id") == row and c.row.get("user_id") == ANNA
        ]

    def listen(self) -> list[Change]:
        self.changes = self.slot.read()
        return self.changes


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """On a server with logical decoding: a migrated production database."""
    home = tmp_path_factory.mktemp("logical")
    with EmbeddedPostgres(home) as postgres, psycopg.connect(postgres.superuser_url, autocommit=True) as connection:
        connection.execute("alter system set wal_level = logical")
        connection.execute("alter system set fsync = off")
    wait_for(lambda: not status(home).running, "for the server to stop")  # takes effect at the next start
    with EmbeddedPostgres(home) as postgres:
        server = Server(postgres.superuser_url, postgres.url)
        name = production_database(server)
        database = migrated(Database(server.url(name)))
        database.rows("update public.profiles set age_verified = true, subscription_status = 'premium' where id = %s", (ANNA,))
        database.rows("select ourvidz.grant_tokens(%s, 1000, 'for the test')", (ANNA,))
        with psycopg.connect(server.url(name, superuser=True), autocommit=True) as connection:
            assert connection.execute("show wal_level").fetchone() == ("logical",)
            found = Screen(connection, database)
            yield found
            found.slot.drop()
        database.close()


def make(screen: Screen, job: str) -> None:
    jobs = Jobs(screen.database, Permissive())
    gpu, made = executor(jobs), ""
    while made != job:
        claimed = claim(jobs, gpu)
        jobs.advance(claimed, "generation_started")
        output = artifact(claimed, kind="video" if claimed.kind.video else "image")
        jobs.artifact_generated(claimed, output)
        jobs.advance(claimed, "upload_started")
        jobs.artifact_uploaded(claimed, output["kind"], 0, output["sha256"])
        jobs.complete(claimed)
        made = claimed.job_id


def test_an_image_appears_by_an_update_to_completed(screen: Screen) -> None:
    job = screen.queue("sdxl_image_fast")
    sql = """insert into public.images (user_id, prompt, status, job_id, image_index, quality)
             values (%s, %s, 'queued', %s, 0, 'fast') returning id::text"""
    image = str(screen.ask(sql, ANNA, PROMPT, job))
    screen.ask("update public.jobs set image_id = %s where id = %s", image, job)
    make(screen, job)
    screen.listen()
    heard = screen.heard("images", image)
    assert heard[0] == ("INSERT", "queued") and heard[-1] == ("UPDATE", "completed"), heard
    assert ("INSERT", "completed") not in heard
    (last,) = [c for c in screen.changes if c.table == "images" and c.row.get("id") == image and c.row.get("status") == "completed"][-1:]
    assert last.full and last.row["image_url"] and json.loads(last.row["metadata"] or "{}")["bucket"] == "sdxl_image_fast"
    job_heard = screen.heard("jobs", job)
    assert job_heard[0] == ("INSERT", "queued") and job_heard[-1][1] == "completed"


def test_a_video_appears_by_an_update_to_completed(screen: Screen) -> None:
    job = screen.queue("video_fast")
    sql = "insert into public.videos (user_id, status, format, resolution) values (%s, 'queued', 'mp4', '832x480') returning id::text"
    video = str(screen.ask(sql, ANNA))
    screen.ask("update public.jobs set video_id = %s where id = %s", video, job)
    make(screen, job)
    screen.listen()
    heard = screen.heard("videos", video)
    assert heard[0] == ("INSERT", "queued") and heard[-1] == ("UPDATE", "completed"), heard


def test_the_library_receives_deletes(screen: Screen) -> None:
    job = screen.queue("sdxl_image_fast")
    image = str(screen.ask("insert into public.images (user_id, prompt, status, job_id, image_index) values (%s, %s, 'queued', %s, 0) "
                           "returning id::text", ANNA, PROMPT, job))  # fmt: skip
    make(screen, job)
    screen.ask("delete from public.images where id = %s", image)
    screen.listen()
    gone = [c for c in screen.changes if c.verb == "DELETE" and c.row.get("id") == image]
    assert [(c.table, c.full, c.row["user_id"]) for c in gone] == [("images", True, ANNA)], "its old row, whole: the filter is by user"


def test_live_status_goes_to_the_users_own_channel(screen: Screen) -> None:
    """`realtime.send` writes to realtime.messages, which Realtime's server reads; a user may read only their own topic."""
    job = screen.queue("sdxl_image_fast")
    make(screen, job)
    sql = "select payload from realtime.messages where topic = %s and payload->>'job_id' = %s"
    told = [p for (p,) in screen.connection.execute(sql, (f"jobs:{ANNA}", job)).fetchall()]
    assert told and told[-1]["status"] == "completed"
