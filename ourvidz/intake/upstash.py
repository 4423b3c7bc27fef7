"""A client for Upstash's REST API, as far as the intake needs it. Requests are tried once: the caller knows what may be repeated.

upstash-redis, the official client, retries any failed request and waits for answers without a timeout; an RPOP whose answer was lost would
lose a job (docs/decisions/0023).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx

from ourvidz.outbound import clients
from ourvidz.outbound.retry_after import retry_after

TIMEOUT = httpx.Timeout(10.0, connect=5.0)  # seconds


class RedisAway(Exception):
    """Redis did not answer, or reported a temporary error. The command may have been executed. `after`: seconds it asks us to wait."""

    def __init__(self, said: str, after: float = 0.0) -> None:
        super().__init__(said)
        self.after = after


class QuotaSpent(RedisAway):
    """Upstash's quota is used up: it executes nothing until the next period, which may be days away, or a larger plan."""


class RedisRefused(Exception):
    """Redis refuses the token or the command: waiting does not help."""


_PLAN = "Upstash's console shows the use; a larger plan, or the next period, lets it go on"
# Errors by Upstash's wording (https://upstash.com/docs/redis/troubleshooting and reports of its users). The first match decides; errors
# without a match are retried. An error may be the answer to a request or to one command, with any status.
_MEANS: Sequence[tuple[str, type[RedisAway] | type[RedisRefused], str]] = (
    (r"max (daily |monthly )?requests? limit exceeded", QuotaSpent, f"the plan's commands are used up. {_PLAN}"),
    (r"max (daily |monthly )?bandwidth limit exceeded", QuotaSpent, f"the plan's bandwidth is used up. {_PLAN}"),
    (r"DB capacity quota exceeded|max database size", QuotaSpent, f"the database is full. {_PLAN}"),
    (r"WRONGPASS|NOAUTH|unauthorized", RedisRefused, "it refuses the token: look at UPSTASH_REDIS_REST_TOKEN"),
    (r"NOPERM", RedisRefused, "the token may not do this: UPSTASH_REDIS_REST_TOKEN must not be the read-only one"),
    (r"max request size exceeded|max single record size exceeded", RedisRefused, "the request is larger than the plan allows"),
    (r"unknown command|command is not available|failed to parse", RedisRefused, "it does not know the command"),
)


class Upstash:
    """A keep-alive connection. Not thread-safe. Answers are bytes, as stored in Redis."""

    def __init__(self, url: str, token: str, *, timeout: httpx.Timeout = TIMEOUT) -> None:
        headers = {"Authorization": f"Bearer {token}", "Upstash-Encoding": "base64"}
        self._http = clients.client(base_url=url, headers=headers, timeout=timeout)

    def pipeline(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Send several commands in one request; it is not a transaction."""
        answers = self._post("/pipeline", json=[list(command) for command in commands])
        if not isinstance(answers, list) or len(answers) != len(commands):
            raise RedisAway("Redis gave no answer to each command")
        return [_result(answer) for answer in answers]

    def call(self, *words: str, last: bytes) -> Any:
        """Send one command whose last argument may be any bytes: by the path style, which takes it as the body."""
        return _result(self._post("/" + "/".join(quote(word, safe="") for word in words), content=last))

    def close(self) -> None:
        self._http.close()

    def _post(self, path: str, **body: Any) -> Any:
        try:
            response = self._http.post(path, **body)
        except httpx.HTTPError as error:
            raise RedisAway(
                f"The Redis of UPSTASH_REDIS_REST_URL did not answer ({type(error).__name__})"
            ) from None  # its own text could hold the URL
        after = retry_after(response.headers.get("retry-after"))
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if isinstance(answer, dict) and "error" in answer:
            raise _meant(answer["error"], response.status_code, after)
        if response.status_code in (401, 403):
            raise RedisRefused("Upstash refuses the token: look at UPSTASH_REDIS_REST_TOKEN.")
        if not response.is_success or answer is None:
            raise RedisAway(f"Redis answered {response.status_code}{'' if answer is not None else ' and no JSON'}", after)
        return answer


def _meant(error: object, status: int = 200, after: float = 0.0) -> RedisAway | RedisRefused:
    words = str(error)
    for pattern, kind, meaning in _MEANS:
        if re.search(pattern, words, re.IGNORECASE):
            said = f"Upstash: {meaning} ({words[:200].rstrip('.')})."
            return RedisRefused(said) if kind is RedisRefused else QuotaSpent(said, after)
    if status in (401, 403):
        return RedisRefused("Upstash refuses the token: look at UPSTASH_REDIS_REST_TOKEN.")
    return RedisAway(f"Redis says: {words[:200]}", after)


def _result(answer: Any) -> Any:
    if not isinstance(answer, dict):
        raise RedisAway("Redis gave no answer to a command")
    if "error" in answer:
        raise _meant(answer["error"])
    return _plain(answer.get("result"))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, str) or value == "OK":
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return value.encode()  # simple answers are not encoded
