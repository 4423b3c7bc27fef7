"""Throughput of the intake, from Redis messages to committed rows, against a bare RPOP-and-INSERT loop over the same REST interface; and
latency of the edge function until the row is queued, against a PostgREST INSERT into a table without checks.

    python -m bench.intake [--messages 2000] [--calls 150]

The bare loop is what a worker without guarantees does: RPOP over REST, INSERT, commit, next. It loses a message with each lost reply,
checks nothing and writes no event. Aim: at least 0.8 of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import httpx
import psycopg

from bench.ground import calm, connect, ground, profile
from bench.report import table
from ourvidz.db.connection import Database
from ourvidz.dev.parts import bring
from ourvidz.dev.project import as_superuser
from ourvidz.dev.stack import Stack
from ourvidz.dev.upstash import UpstashFace
from ourvidz.dev.valkey import Valkey
from ourvidz.intake.drain import Drainer
from ourvidz.intake.upstash import Upstash

TOKEN = "bench"
WARM = 5  # uncounted calls of each kind first: they compile, connect and plan
WAYS = {
    "bare": "bare: PostgREST, INSERT into a plain table",
    "plain": "PostgREST, plain INSERT into jobs",
    "edge": "edge function queue-job: screen, rpc, checks, price, event",
}
EACH = 40  # messages per user: a plan allows no more than a hundred unfinished jobs


def push(face: UpstashFace, users: Sequence[str], messages: int, queue: str) -> None:
    for n in range(messages):
        user = users[n // EACH]
        one = {
            "id": str(uuid.uuid4()),
            "type": "sdxl_image_fast",
            "prompt": "a lighthouse in a storm",
            "user_id": user,
            "bucket": "sdxl_image_fast",
        }
        more = {"config": {"num_inference_steps": 25, "guidance_scale": 7.5}, "metadata": {}, "model_variant": "lustify_sdxl"}
        face.valkey.call("LPUSH", queue, json.dumps(one | more).encode())


def bare(url: str, redis: Upstash, messages: int) -> float:
    with connect(url) as connection:
        connection.execute(
            "create table bare_jobs (id uuid primary key, user_id uuid, job_type text, prompt text, config jsonb, status text)"
        )
        begun = time.perf_counter()
        for _ in range(messages):
            (raw,) = redis.pipeline([("RPOP", "bare_queue")])
            one = json.loads(raw)
            row = (one["id"], one["user_id"], one["type"], one["prompt"], json.dumps(one["config"]))
            connection.execute("insert into bare_jobs values (%s, %s, %s, %s, %s, 'queued')", row)
        return messages / (time.perf_counter() - begun)


def ours(url: str, redis: Upstash, messages: int) -> float:
    drainer = Drainer(Database(url), redis, ("sdxl_queue", "wan_queue"))
    begun = time.perf_counter()
    while drainer.once():
        pass
    took = time.perf_counter() - begun
    if drainer.totals != {"drained": messages}:
        raise SystemExit(f"Not all became jobs: {drainer.totals}")
    return messages / took


def by_http(url: str, folder: Path, calls: int) -> dict[str, list[float]]:
    """Seconds of each call, by way. The ways alternate, so that other load on the machine affects all of them."""
    with connect(url) as connection:
        columns = "id uuid primary key default gen_random_uuid(), user_id uuid, job_type text, metadata jsonb, status text"
        connection.execute(f"create table public.bare_posts ({columns})")
        connection.execute("grant insert, select on public.bare_posts to authenticated")
        users = [profile(connection, n) for n in range(1001, 1001 + calls // EACH + 1)]
        calm(connection)
    waits: dict[str, list[float]] = {way: [] for way in WAYS}
    with Stack(bring(), as_superuser(url), folder) as stack, httpx.Client(base_url=stack.url, timeout=30) as client:
        for n in range(calls + WARM):
            user = users[max(n - WARM, 0) // EACH]
            headers = {"apikey": stack.anon_key, "Authorization": f"Bearer {stack.secret.user(user)}", "Prefer": "return=representation"}
            prompt = {"prompt": "a lighthouse in a storm", "steps": 25}
            row = {"user_id": user, "job_type": "sdxl_image_fast", "metadata": prompt, "status": "queued"}
            ways = [
                ("bare", "/rest/v1/bare_posts", row),
                ("plain", "/rest/v1/jobs", row),
                ("edge", "/functions/v1/queue-job", {"jobType": row["job_type"], "metadata": prompt}),
            ]
            for way, path, body in ways[n % 3 :] + ways[: n % 3]:  # in varying order
                begun = time.perf_counter()
                answer = client.post(path, json=body, headers=headers)
                took = time.perf_counter() - begun
                if answer.status_code not in (200, 201):
                    raise SystemExit(f"{path} answered {answer.status_code}: {answer.text[:300]}")
                if n >= WARM:
                    waits[way].append(took)
    return waits


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--calls", type=int, default=150)
    asked = parser.parse_args(argv)
    messages = asked.messages
    with ground() as url, tempfile.TemporaryDirectory() as folder:
        valkey = Valkey(bring().valkey, Path(folder)).start()
        face = UpstashFace(valkey, TOKEN)
        redis = Upstash(face.url, TOKEN)
        try:
            with connect(url) as connection:
                users = [profile(connection, n) for n in range(1, messages // EACH + 2)]
                push(face, users, messages, "bare_queue")
                push(face, users, messages, "sdxl_queue")
                calm(connection)
            floor, found = bare(url, redis, messages), ours(url, redis, messages)
            rows = [("bare RPOP and INSERT", floor, None), ("ours: nothing lost, nothing doubled", found, found / floor)]
            table(f"{messages:,} messages from Redis (REST) to committed rows", ("way", "messages/s", "of bare (aim ≥ 0.8)"), rows)
        finally:
            redis.close()
            face.close()
            valkey.stop()
        waits = by_http(url, Path(folder) / "stack", asked.calls)
    floor = median(waits["bare"])
    shown = [(WAYS[way], median(w) * 1000, quantiles(w, n=20)[18] * 1000, median(w) / floor) for way, w in waits.items()]
    table(f"One call at a time to a queued row, {asked.calls} times each in turn", ("way", "p50 ms", "p95 ms", "p50 of bare"), shown)


if __name__ == "__main__":
    try:
        main()
    except psycopg.OperationalError as error:
        raise SystemExit(f"The benchmark's database could not be reached: {error}") from error
