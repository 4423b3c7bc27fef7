"""Actions of parties other than the client, between two requests."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import httpx
from waiting import LIMIT

from ourvidz.intake import dead_letters
from ourvidz.intake.message import QUEUES

from .client_site import House
from .fake_executor import picture as some_picture


def make(house: House, job: str) -> None:
    house.maker.make(job)


def make_badly(house: House, job: str) -> None:
    """An executor fails the job permanently."""
    house.maker.make(job, outputs=0)


def fetched(house: House, url: str, media_type: str) -> None:
    """Download a signed URL, as the browser does."""
    answer = httpx.get(url, timeout=LIMIT)
    assert answer.status_code == 200, f"{answer.status_code} {answer.text[:200]}"
    assert answer.headers["content-type"].split(";")[0] == media_type, answer.headers["content-type"]
    assert answer.content


def started(house: House, job: str) -> None:
    """An executor has the job on its device."""
    house.maker.start(job)


def pushed(house: House, message: dict[str, Any]) -> None:
    """Push as the deployed edge function does: REST path style, the key in the path and the message as the body."""
    queue = "sdxl_queue" if message["type"].startswith("sdxl") else "wan_queue"
    environment = house.project.environment
    answer = httpx.post(
        f"{environment['UPSTASH_REDIS_REST_URL']}/lpush/{queue}",
        content=json.dumps(message),
        headers={"Authorization": f"Bearer {environment['UPSTASH_REDIS_REST_TOKEN']}", "Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text


def drained(house: House, expected: dict[str, int]) -> None:
    found = house.drain()
    assert found == expected, f"the intake made of the messages: {found}; dead letters: {dead_letters.letters(house.redis(), QUEUES)}"


def picture(house: House) -> dict[str, str]:
    return {"file64": base64.b64encode(some_picture("png", 4711, 96)).decode(), "type": "image/png"}


def made_of(house: House, job: str, references: dict[str, str]) -> None:
    """The references in the job's settings."""
    found = house.database.rows("select settings->'references' as r from public.job_payloads where job_id = %s", (job,))
    assert found[0]["r"] == references, found[0]["r"]


def working(house: House, job: str) -> None:
    """Does nothing: an executor with models is running (`House.executor`), and the next request waits for it."""


def sha256_of(house: House, file: dict[str, str]) -> str:
    return hashlib.sha256(base64.b64decode(file["file64"])).hexdigest()
