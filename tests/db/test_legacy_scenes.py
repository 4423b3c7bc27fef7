"""Scenes of the legacy system: their statuses are mapped to ours, and the original words are kept."""

from __future__ import annotations

from pathlib import Path

import psycopg
from supabase_shape import supabase_database
from support import Server

from ourvidz.db.connection import Database
from ourvidz.db.migrate import migrate

OLDER = Path(__file__).parents[1] / "data" / "older_system.sql"
SCENES = [
    # status, preview, video → our status, part of the original that is kept
    ("processing", None, None, "draft", "processing"),
    ("processing", "a/b.png", None, "preview_ready", "processing"),
    ("generating", "a/b.png", "a/b.mp4", "completed", "generating"),
    ("Done", None, None, "completed", "Done"),
    ("error", "a/b.png", None, "failed", "error"),
    ("completed", None, "a/b.mp4", "completed", None),
    ("a word of nobody's", None, None, "draft", "a word of nobody's"),
    (None, None, None, "draft", None),
]


def test_legacy_scene_statuses_are_mapped(server: Server) -> None:
    name = supabase_database(server)
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute(OLDER.read_text())
        connection.execute("delete from public.jobs; delete from public.videos")
        connection.execute("alter table public.videos add constraint theirs check (status <> 'preview_ready')")
        for n, (word, preview, video, *_) in enumerate(SCENES, 1):
            connection.execute(
                """insert into public.videos (user_id, scene_number, status, preview_url, video_url)
                   values ((select id from public.profiles limit 1), %s, %s, %s, %s)""",
                (n, word, preview, video),
            )
    database = Database(server.url(name))
    with database.transaction() as connection:
        migrate(connection)
    found = database.rows("select status, older_status, preview_url, video_url from public.videos order by scene_number")
    database.close()
    server.drop(name)
    assert [(r["status"], r["older_status"], r["preview_url"], r["video_url"]) for r in found] == [
        (status, kept, preview, video) for _, preview, video, status, kept in SCENES
    ]
