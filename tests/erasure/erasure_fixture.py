"""A user with data in every possible place, marked by one word; and a dump of the whole database."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from support import artifact, claim, executor, new_user, submit

from ourvidz.db import safety
from ourvidz.db.connection import Database
from ourvidz.erasure import Eraser
from ourvidz.lifecycle import Jobs
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS

MINE, THEIRS = "zanzibar", "walrus"
SHA = "c3" * 32
OLDER = """create table if not exists ourvidz.older_jobs
           (id uuid primary key default gen_random_uuid(), user_id uuid, metadata jsonb, video_id uuid references public.videos)"""


def dump(superuser: psycopg.Connection[Any]) -> dict[str, str]:
    """Each of our tables and of Supabase's in COPY format (as in pg_dump), by name."""
    found = superuser.execute("""select format('%I.%I', nspname, relname) from pg_class join pg_namespace as n on n.oid = relnamespace
        where relkind in ('r', 'p') and nspname in ('public', 'ourvidz', 'auth', 'storage') order by 1""").fetchall()
    told = {}
    for (name,) in found:
        with superuser.cursor().copy(f"copy (select * from {name} as t order by t::text) to stdout") as rows:
            told[name] = b"".join(bytes(row) for row in rows).decode()
    return told


def holding(told: dict[str, str], word: str) -> set[str]:
    return {name for name, text in told.items() if word in text}


@dataclass
class House:
    database: Database
    jobs: Jobs
    root: Path
    users: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = FolderStore(self.root / "storage", BUCKETS)
        self.spool = self.root / "spool"
        self.spool.mkdir()
        self.eraser = Eraser(self.jobs, self.store, self.spool)

    def put(self, bucket: str, path: str) -> None:
        file = self.root / "one.png"
        file.write_bytes(path.encode())
        self.store.put(bucket, path, file, "image/png")

    def user(self, word: str) -> str:
        """Make a user with a finished, a failed and a waiting job, and a row in each table that holds text, all containing `word`;
        returns their id."""
        db, user = self.database, new_user(self.database, "premium")
        self.users.append(user)
        gpu = executor(self.jobs, f"gpu{len(self.users)}")
        more = {"prompt": f"a {word} at dusk", "negative_prompt": f"no {word}", "metadata": {"note": word}, "idempotency_key": word}
        ids = [submit(self.jobs, user, "image7b_fast_enhanced", **more)]
        held = claim(self.jobs, gpu, lanes=["wan"])
        self.jobs.advance(held, "enhancement_started")
        self.jobs.enhanced(held, f"a {word}, long exposure", seconds=1, tokens=5)
        self.jobs.advance(held, "generation_started")
        made = artifact(held)
        self.put(held.job_type, made["path"])
        self.jobs.artifact_generated(held, made | {"metadata": {"note": word}})
        self.jobs.advance(held, "upload_started")
        self.jobs.artifact_uploaded(held, "image", 0, made["sha256"])
        self.jobs.complete(held)
        ids.append(
            submit(
                self.jobs,
                user,
                prompt=f"another {word}",
                settings={"references": {"style": f"https://a.example/{word}.png"}, "reference_type": "style"},
            )
        )
        self.jobs.fail(claim(self.jobs, gpu, lanes=["sdxl_ip"]), "bad_request", f"no {word} can be made", retryable=False)
        sql = "insert into public.jobs (user_id, job_type, metadata, status) values (%s, 'sdxl_image_fast', %s, 'queued') returning id"
        (plain,) = db.rows(sql, (user, json.dumps({"prompt": f"a plain {word}"})))
        ids.append(str(plain["id"]))
        db.rows("update public.jobs set error_message = %s where id = %s", (f"{word} failed", ids[1]))
        self.spool.joinpath(ids[0]).mkdir()
        self.spool.joinpath(ids[0], "image-1-0.png").write_text(word)
        self.put("character-images", f"{user}/references/{word}.png")
        odd = self.root / "storage" / "character-images" / user / f"my {word} ü.jpg"  # a name that none of our objects has
        odd.write_text(word)
        (who,) = db.rows(
            "insert into public.characters (user_id, name, description) values (%s, %s, %s) returning id", (user, word, f"a {word}")
        )
        sql = "insert into public.projects (user_id, title, original_prompt, character_id) values (%s, %s, %s, %s) returning id"
        (film,) = db.rows(sql, (user, word, f"a {word}", who["id"]))
        db.rows("insert into public.videos (user_id, project_id, scene_number) values (%s, %s, 1)", (user, film["id"]))
        db.rows("insert into public.usage_logs (user_id, action, format, metadata) values (%s, %s, %s, %s)",
                (user, word, word, json.dumps({"said": word})))  # fmt: skip
        db.rows("update public.profiles set email = %s where id = %s", (f"{word}@example.org", user))
        safety.attest(db, user, SHA, word)
        sql = """insert into ourvidz.enhancement_requests (user_id, style, prompt, enhanced, asked_at)
                 values (%s, 'wan', %s, %s, ourvidz.now())"""
        db.rows(sql, (user, f"a {word}", f"a {word}, long exposure"))
        db.rows("select ourvidz.record_refusal(%s, 'minors', '2025-08+00000000', null, %s)", (user, SHA))
        db.rows(OLDER)
        sql = """insert into ourvidz.older_jobs (user_id, metadata, video_id)
                 select user_id, jsonb_build_object('prompt', %s::text), id from public.videos where user_id = %s"""
        db.rows(sql, (word, user))
        return user

    def files(self, word: str) -> list[str]:
        """Files that hold the word, in name or content."""
        found = [path for folder in (self.store_root, self.spool) for path in folder.rglob("*") if path.is_file()]
        return [str(path) for path in found if word in str(path.relative_to(self.root)) or word.encode() in path.read_bytes()]

    @property
    def store_root(self) -> Path:
        return self.root / "storage"

    def of(self, user: str) -> list[str]:
        """Files in the user's folders, whatever they contain."""
        return [str(path) for path in self.store_root.glob(f"*/{user}/**/*") if path.is_file()]
