"""HTTP requests to Supabase Storage, with the key, timeouts, and retries where these are safe. Failures are raised as the `StorageError`
classes of `base`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from ourvidz import project_keys
from ourvidz.outbound import clients
from ourvidz.storage.base import PathRefused, StorageDenied, StorageUnavailable
from ourvidz.storage.refusals import Away, told

# Seconds to connect, and without any traffic in either direction. To move an object of 200 MB, Storage copies it, and answers only when
# that is done.
TIMEOUT = httpx.Timeout(60, connect=10)


@dataclass(frozen=True)
class Patience:
    """Retry policy: the number of tries, and the seconds between, doubled each time up to `longest`, or what the server asked for."""

    tries: int = 5
    first: float = 0.5
    longest: float = 8.0

    def __call__(self, may: Iterable[type[Exception]] = (Away,), *, changing: bool = False) -> Retrying:
        """`changing`: the request must not be repeated if it may have been executed."""

        def again(error: BaseException) -> bool:
            return isinstance(error, tuple(may)) and not (changing and isinstance(error, Away) and error.done)

        return Retrying(retry=retry_if_exception(again), stop=stop_after_attempt(self.tries), wait=self._wait, reraise=True)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.after if isinstance(error, Away) else 0.0
        return max(asked, min(self.first * 2.0 ** (state.attempt_number - 1), self.longest))


class Api:
    """Safe to use from several threads. `url` is the project's (https://….supabase.co), `key` its secret key or its legacy service key."""

    def __init__(self, url: str, key: str, patience: Patience) -> None:
        self.url, self.patience = f"{url.rstrip('/')}/storage/v1", patience
        key = key.strip()
        if not re.fullmatch(r"[!-~]+", key):  # httpx's error for an invalid header would quote the key
            raise StorageDenied(
                f"{project_keys.SECRET} (or {project_keys.LEGACY}) is empty, or holds what no key holds. "
                f"Copy it again from the project's dashboard: {project_keys.WHERE}."
            )
        # Identity: bytes as they are stored.
        headers = {**project_keys.headers(key), "accept-encoding": "identity", "user-agent": "ourvidz"}
        self._client = clients.client(headers=headers, timeout=TIMEOUT)

    def send(self, method: str, path: str, doing: str, *, stream: bool = False, json: Any = None, **more: Any) -> httpx.Response:
        """Send one request, once. Raises the `StorageError` for its answer. With `stream` the caller closes the response."""
        if not {".", ".."}.isdisjoint(path.split("/")):  # httpx would resolve them and request another object
            raise PathRefused(f"{doing}: `.` and `..` name no object in an address")
        try:
            request = self._client.build_request(method, self.url + path, json=json, **more)
            response = self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Away(f"Supabase Storage cannot be reached. {doing}: {_named(error)}", done=False) from error
        except httpx.TransportError as error:
            raise Away(f"Supabase Storage did not answer. {doing}: {_named(error)}", done=True) from error
        except httpx.InvalidURL as error:
            raise StorageUnavailable(f"SUPABASE_URL is no address of a project: {error}") from error
        if response.is_success and stream:
            return response
        try:
            body = response.read()
        except httpx.TransportError as error:
            raise Away(f"Supabase Storage broke off its answer. {doing}: {_named(error)}", done=True) from error
        finally:
            response.close()
        if not response.is_success:
            raise told(response.status_code, body, response.headers, doing)
        return response

    def ask(self, method: str, path: str, doing: str, *, changing: bool = False, **more: Any) -> httpx.Response:
        """Send a request, retrying while it is unanswered. With `changing`, retry only if it was surely not executed."""
        return self.patience(changing=changing)(self.send, method, path, doing, **more)


@contextmanager
def understood(doing: str) -> Iterator[None]:
    """Wrap the parsing of an answer. An unexpected format means that the server is not Storage: raises `StorageUnavailable`."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageUnavailable(f"{doing}: the answer makes no sense. Look at SUPABASE_URL: is it a Supabase project?") from error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}{f' ({error})' if str(error) else ''}"
