"""Lines of CLIENTS.md §5 that are not client requests: effects of migrating a production database, and the operator's steps afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from production_copy import ANNA, CLARA, migrated, older_job
from support import Permissive, Server, executor, finish, row

from ourvidz.audit import audit
from ourvidz.db import ledger
from ourvidz.db.connection import Database
from ourvidz.erasure import Eraser
from ourvidz.lifecycle import Jobs, NewJob
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS
from state.errors import NotAgeVerified

from .client_site import TOKENS


def verified(database: Database, *users: str) -> None:
    """The operator's decisions after the migration."""
    database.rows(
        "update public.profiles set age_verified = true, subscription_status = 'premium' where id = any (%s::uuid[])", (list(users),)
    )
    for user in users:
        ledger.grant(database, user, TOKENS, "for the test")


def visible(server: Server, database: Database, user: str, statement: str) -> list[Any]:
    name = database.rows("select current_database() as name")[0]["name"]
    with psycopg.connect(server.url(name, superuser=True)) as connection:
        connection.execute("set local role authenticated")
        connection.execute(
            "select set_config('request.jwt.claims', json_build_object('sub', %s::text, 'role', 'authenticated')::text, true)", (user,)
        )
        return connection.execute(statement.encode()).fetchall()


def test_migrate(production: Database) -> None:
    """All rows are kept, `text[]` values included, and every job has its event."""
    counts = {
        t: production.rows(f"select count(*) as n from public.{t}")[0]["n"] for t in ("jobs", "images", "videos", "characters", "profiles")
    }
    migrated(production)
    assert {t: production.rows(f"select count(*) as n from public.{t}")[0]["n"] for t in counts} == counts | {
        "profiles": counts["profiles"] + 1  # of a user whose username was taken: the legacy trigger left them without one
    }
    assert production.rows("select appearance_tags from public.characters where name = 'Mara'") == [
        {"appearance_tags": ["red hair", "green, eyes"]}
    ]
    assert list(audit(production).findings) == []


def test_policies(server: Server, migrated_production: Database) -> None:
    """The legacy policies are gone: those of our tables, and the permissive ones on storage."""
    names = {
        r["policyname"] for r in migrated_production.rows("select policyname from pg_policies where schemaname in ('public', 'storage')")
    }
    assert not [name for name in names if name.startswith(("Allow all operations", "Jobs access", "Videos access", "Authenticated users"))]
    theirs = f"select name from storage.objects where name like '{ANNA}/%'"
    assert visible(server, migrated_production, CLARA, theirs) == [] and visible(server, migrated_production, ANNA, theirs)


def test_any_job(migrated_production: Database) -> None:
    """No imported age is trusted; once the operator has verified it, the user may submit."""
    jobs = Jobs(migrated_production, Permissive())
    with pytest.raises(NotAgeVerified):
        jobs.submit(NewJob(ANNA, "sdxl_image_fast", "a pier"))
    verified(migrated_production, ANNA)
    assert jobs.submit(NewJob(ANNA, "sdxl_image_fast", "a pier")).created


def test_waiting_sdxl(migrated_production: Database) -> None:
    """It keeps SDXL's own settings and waits until its user's age is verified; then it runs."""
    job = older_job("sdxl_image_fast", "queued")
    assert row(migrated_production, job)["status"] == "queued"
    jobs = Jobs(migrated_production, Permissive())
    gpu = executor(jobs, lanes=("sdxl", "sdxl_ip"))
    assert jobs.claim(gpu) == [], "nobody's age is known"
    verified(migrated_production, ANNA)
    made = {}
    while found := jobs.claim(gpu):
        for claim in found:
            made[claim.job_id] = claim
            finish(jobs, claim)
    settings = made[job].settings
    assert (settings.images, settings.sampler, settings.shift, settings.width) == (3, None, None, 1024)
    assert all(claim.user_id == ANNA for claim in made.values()) and row(migrated_production, job)["status"] == "completed"


def test_erasure(migrated_production: Database, tmp_path: Path) -> None:
    """Erases everything with the user's words or images, legacy tables and buckets included."""
    database, store = migrated_production, FolderStore(tmp_path / "store", BUCKETS)
    for bucket, path in (("reference_images", f"{ANNA}/1752137000000-ref.png"), ("sdxl_image_fast", f"{ANNA}/made_0_0.png")):
        (tmp_path / "picture.png").write_bytes(b"\x89PNG of theirs")
        store.put(bucket, path, tmp_path / "picture.png", "image/png")
    Eraser(Jobs(database, Permissive()), store, tmp_path / "spool").erase(ANNA, by="person:test")
    assert not list(store.list("reference_images", ANNA)) and not list(store.list("sdxl_image_fast", ANNA))
    dump = {
        r["name"]: r["name"]
        for r in database.rows("select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'")
    }
    words = ("a quiet harbour, number 3", "a pier in fog", "Dunes", "anna@example.org", "Mara", "192.0.2.7", "waves at night")
    for table in dump:
        text = "\n".join(str(r["j"]) for r in database.rows(f"select to_jsonb(t)::text as j from public.{table} as t"))
        assert not [word for word in words if word in text], table
    assert database.rows("select username from public.profiles where id = %s", (ANNA,))[0]["username"] is None
    assert list(audit(database).findings) == []
