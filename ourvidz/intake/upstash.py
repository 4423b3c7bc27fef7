"""Upstash's REST API, as far as the intake needs it. One request, one try: whoever calls knows what may be repeated.

upstash-redis, the official client, repeats any failed request by itself and waits without end for an answer; an RPOP whose answer was
lost would lose a job (docs/decisions/0023).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx

TIMEOUT = httpx.Timeout(10.0, connect=5.0)  # seconds


class RedisAway(Exception):
    """Redis did not answer, or answered that it cannot now. What was asked may have been done."""


class RedisRefused(Exception):
    """Redis does not let us in, or does not know the command: waiting mends nothing."""


class Upstash:
    """A connection kept alive. Not for several threads at once. Answers are bytes, as they lie in Redis."""

    def __init__(self, url: str, token: str, *, timeout: httpx.Timeout = TIMEOUT) -> None:
        headers = {"Authorization": f"Bearer {token}", "Upstash-Encoding": "base64"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, trust_env=False)

    def pipeline(self, commands: Sequence[Sequence[str]]) -> list[Any]:
        """Many commands in one request, each for itself."""
        answers = self._post("/pipeline", json=[list(command) for command in commands])
        if not isinstance(answers, list) or len(answers) != len(commands):
            raise RedisAway("Redis gave no answer to each command")
        return [_result(answer) for answer in answers]

    def call(self, *words: str, last: bytes) -> Any:
        """One command whose last argument is bytes that may be no text: the path style, which takes it as the body."""
        return _result(self._post("/" + "/".join(quote(word, safe="") for word in words), content=last))

    def close(self) -> None:
        self._http.close()

    def _post(self, path: str, **body: Any) -> Any:
        try:
            response = self._http.post(path, **body)
        except httpx.HTTPError as error:
            raise RedisAway(
                f"The Redis of UPSTASH_REDIS_REST_URL did not answer ({type(error).__name__})"
            ) from None  # its own words could hold the URL
        if response.status_code in (401, 403):
            raise RedisRefused("Upstash refuses the token: look at UPSTASH_REDIS_REST_TOKEN.")
        try:
            answer = response.json()
        except ValueError:
            raise RedisAway(f"Redis answered {response.status_code} and no JSON") from None
        if response.status_code == 429 or response.status_code >= 500:
            raise RedisAway(f"Redis answered {response.status_code}")
        if isinstance(answer, dict) and "error" in answer:
            raise RedisRefused(_words(answer["error"]))
        return answer


def _result(answer: Any) -> Any:
    if not isinstance(answer, dict) or "error" in answer:
        raise RedisAway(_words(answer.get("error") if isinstance(answer, dict) else "no answer"))
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


def _words(error: object) -> str:
    return f"Redis says: {str(error)[:200]}"
