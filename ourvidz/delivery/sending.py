"""Send one message with one POST. Whatever the receiver does, it ends within `LIMIT` seconds."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ourvidz import project_keys
from ourvidz.delivery.signature import BadSecret, headers, keys, words
from ourvidz.outbound.retry_after import retry_after

if TYPE_CHECKING:
    import httpx

    from ourvidz.db.outbox import Message

LIMIT = 15.0  # seconds in total: DNS, connection, TLS, request, status
_SECRET = re.compile("SECRET|TOKEN|KEY|PASSWORD")
USER_AGENT = "OurVidz-Webhooks/1"


@dataclass(frozen=True)
class Outcome:
    """`status`: the HTTP status, if any. `error`: None if delivered, else a message without any text of the receiver."""

    status: int | None
    error: str | None = None
    wait_s: float | None = None  # how long the receiver asked us to wait


@dataclass(frozen=True)
class Keyring:
    """Credentials in the deliverer's environment: signing secrets by variable, and a secret key with the project it belongs to."""

    environment: Mapping[str, str]
    supabase_url: str | None = None
    secret_key: str | None = None

    def keys(self, name: str) -> list[bytes]:
        """The signing keys in variable `name`; empty if it is not set. Raises `BadSecret`, also if another variable holds the same secret:
        whoever has the signing key could then use that one too."""
        try:
            found = keys(held := self.environment.get(name, ""))
        except BadSecret as error:
            raise BadSecret(f"{name}: {error}") from None
        own = {word.rstrip("=") for word in words(held)}
        if shared := sorted(
            other
            for other, theirs in self.environment.items()
            if other != name and _SECRET.search(other) and own & {word.rstrip("=") for word in words(theirs)}
        ):
            raise BadSecret(f"{name}: {shared[0]} holds the same secret; give each its own")
        return found

    def authorization(self, url: str) -> dict[str, str]:
        """Headers with the secret key, for the project's own origin only: it gives access to the whole project."""
        if self.secret_key is None or self.supabase_url is None or _origin(url) != _origin(self.supabase_url):
            return {}
        return project_keys.headers(self.secret_key)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


async def send(client: httpx.AsyncClient, message: Message, ring: Keyring) -> Outcome:
    """POST a message. 2xx means delivered. Redirects are not followed: a message is signed for one address."""

    body = json.dumps(message.body, ensure_ascii=False, separators=(",", ":")).encode()
    told = {"content-type": "application/json", "user-agent": USER_AGENT, **ring.authorization(message.url)}
    told |= headers(f"msg_{message.id}", int(message.taken_at.timestamp()), body, ring.keys(message.secret_env))
    try:
        # httpx's own timeouts are per read: a receiver that sends a byte now and then would never time out.
        async with asyncio.timeout(LIMIT):
            async with client.stream("POST", message.url, content=body, headers=told) as answer:
                return _outcome(answer, legacy="authorization" in told)  # the body is not read: it may be endless
    except TimeoutError:
        return Outcome(None, f"no answer within {LIMIT:g} s")
    except Exception as error:  # noqa: BLE001  (whatever it was, this message is tried again later, and the others go on)
        return Outcome(None, _words(error))


def _outcome(answer: httpx.Response, *, legacy: bool) -> Outcome:
    status = answer.status_code
    if answer.is_success:
        return Outcome(status)
    if answer.is_redirect:
        return Outcome(status, f"it answered {status}, a redirect, which is not followed: give the receiver its true URL")
    hint = f"; if the project's legacy API keys are disabled, set {project_keys.SECRET}" if status == 401 and legacy else ""
    return Outcome(status, f"it answered {status}{hint}", retry_after(answer.headers.get("retry-after")) or None)


def _words(error: Exception) -> str:
    import httpx

    kinds: dict[type[Exception], str] = {
        httpx.TimeoutException: "it did not answer in time",
        httpx.ConnectError: "no connection",
        httpx.RemoteProtocolError: "it hung up, or spoke no HTTP",
        httpx.InvalidURL: "its URL is none",
        httpx.HTTPError: "the connection broke",
    }
    said = next((words for kind, words in kinds.items() if isinstance(error, kind)), "it could not be sent")
    return f"{said} ({type(error).__name__})"
