"""The legacy system on its own database: the deployed queue-job, a worker and job-callback as described in CLIENTS.md, in SQL with their
real rights. Redis is real; an output is only a path."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import psycopg
from support import Server

from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace

PROMPT = "a pier in fog"


def metadata(job_type: str, images: int) -> dict[str, Any]:
    """The metadata that the deployed queue-job writes into a job: Wan's settings for all types."""
    sdxl = job_type.startswith("sdxl")
    return {
        "prompt": PROMPT, "num_images": images, "model_type": "sdxl" if sdxl else "wan", "is_sdxl": sdxl, "bucket": job_type,
        "edge_function_version": "2.1.0", "sample_steps": 25, "sample_guide_scale": 6.5, "sample_solver": "unipc", "sample_shift": 5.0,
    }  # fmt: skip


class Older:
    def __init__(self, server: Server, database: Database, redis: UpstashFace | None = None) -> None:
        self._url = server.url(urlsplit(database.url).path[1:], superuser=True)
        self._redis = redis
        self.made: list[str] = []
        with psycopg.connect(self._url) as connection:  # as at Supabase; before Postgres 16 our migrations may not set it
            connection.execute("alter role service_role bypassrls")

    def ask(self, role: str, user: str, statement: str, *given: Any) -> list[Any]:
        """Run a statement as PostgREST would: with that role and the user's claims."""
        with psycopg.connect(self._url) as connection:
            connection.execute(f"set local role {role}".encode())
            connection.execute(
                "select set_config('request.jwt.claims', %s, true)", (json.dumps({"role": role, **({"sub": user} if user else {})}),)
            )
            found = connection.execute(statement.encode(), given)
            return found.fetchall() if found.description else []

    def sign_up(self, email: str) -> str:
        user = str(uuid.uuid4())
        with psycopg.connect(self._url) as connection:
            sql = "insert into auth.users (id, email, raw_app_meta_data, raw_user_meta_data) values (%s, %s, '{}', '{}')"
            connection.execute(sql, (user, email))
        return user

    def queue(self, user: str, job_type: str = "sdxl_image_fast", images: int = 1) -> str:
        """Front end and queue-job: insert the row, push the message, insert an images row per picture, set the link."""
        kind = "video" if job_type.startswith("video") else "image"
        told = metadata(job_type, images)
        sql = """insert into public.jobs (user_id, job_type, format, quality, model_type, metadata, status)
                 values (%s, %s, %s, 'fast', %s, %s::jsonb, 'queued') returning id::text"""
        job = str(self.ask("authenticated", user, sql, user, job_type, kind, job_type, json.dumps(told))[0][0])
        self.push(user, job, job_type, images)
        sql = """insert into public.images (user_id, prompt, status, job_id, image_index)
                 values (%s, %s, 'queued', %s, %s) returning id::text"""
        rows = [str(self.ask("authenticated", user, sql, user, PROMPT, job, n)[0][0]) for n in range(images)]
        self.ask("authenticated", user, "update public.jobs set image_id = %s where id = %s", rows[0], job)
        return job

    def push(self, user: str, job: str, job_type: str = "sdxl_image_fast", images: int = 1) -> None:
        if self._redis is None:
            return
        told = metadata(job_type, images)
        config = {"size": "480*832", **{k: v for k, v in told.items() if k.startswith("sample_")}, "frame_num": 1, "num_images": images}
        message = {"id": job, "type": job_type, "prompt": PROMPT, "config": config, "user_id": user, "bucket": job_type, "metadata": told}
        self._redis.valkey.call("LPUSH", "sdxl_queue" if job_type.startswith("sdxl") else "wan_queue", json.dumps(message).encode())

    def take(self) -> dict[str, Any] | None:
        """A worker's poll, every two seconds: pop one message, or None."""
        assert self._redis
        raw = self._redis.valkey.call("RPOP", "sdxl_queue")
        return None if raw is None else json.loads(raw)

    def work(self) -> int:
        """Run a worker until its queue is empty; returns the number of jobs made."""
        count = 0
        while (message := self.take()) is not None:
            self.make(message)
            count += 1
        return count

    def make(self, message: dict[str, Any]) -> None:
        self.made.append(message["id"])
        images = message["config"].get("num_images", 1)
        assets = [f"{message['user_id']}/sdxl_{message['id']}_{n}.png" for n in range(images)]
        self.callback({"job_id": message["id"], "status": "completed", "assets": assets, "metadata": {"seed": 7}})

    def callback(self, told: dict[str, Any], at: datetime | None = None) -> None:
        """The deployed job-callback, with the service key."""
        more = {**told.get("metadata", {}), "all_assets": told["assets"], "callback_processed_at": (at or datetime.now(UTC)).isoformat()}
        sql = """update public.jobs set status = %s, completed_at = now(), error_message = %s,
                        metadata = coalesce(metadata, '{}') || %s::jsonb where id = %s returning id"""
        found = self.ask("service_role", "", sql, told["status"], told.get("error_message"), json.dumps(more), told["job_id"])
        assert found, f"there is no job {told['job_id']}"
        for index, asset in enumerate(told["assets"]):
            sql = "update public.images set status = 'completed', image_url = %s where job_id = %s and image_index = %s"
            self.ask("service_role", "", sql, asset, told["job_id"], index)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Serve the project's functions; yields their URL. Signatures are not checked."""
        older = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                older.callback(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
