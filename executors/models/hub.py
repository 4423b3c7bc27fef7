"""Fetch files from the Hugging Face hub or any URL: list a repository, and fetch one file at a time, resuming partial downloads.

`hf_hub_download` of huggingface_hub 2.4 discards a partial file when its process ends, and compares sizes, not hashes. So this module uses
the hub's client for queries (endpoint, token, mirrors by HF_ENDPOINT) and transfers files itself, by HTTP with Range, as 21 GiB need.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, ModelInfo, errors, get_session, hf_hub_url, set_client_factory
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status
from huggingface_hub.utils._http import hf_request_event_hook  # theirs blocks requests where HF_HUB_OFFLINE is set

from executors.errors import ModelFileError
from ourvidz.outbound import clients
from ourvidz.outbound.retry_after import retry_after

log = logging.getLogger("ourvidz.models")

TIMEOUT = 30.0  # seconds without an answer or a byte
TRIES = 5  # consecutive tries without progress
WAIT = 2.0  # seconds before the second try; doubled before each further one


def _client() -> httpx2.Client:
    """Return a client like huggingface_hub's, with our rules on proxies and certificates."""
    hooks = {"request": [hf_request_event_hook]}
    return httpx2.Client(transport=clients.transport(httpx2), trust_env=False, event_hooks=hooks, follow_redirects=True, timeout=None)


set_client_factory(_client)

T = TypeVar("T")
OnBytes = Callable[[int], None]
"""Called with the number of bytes of the file so far."""

_AWAY = (408, 429, 500, 502, 503, 504)  # retryable statuses
_CUT = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)


class _Later(httpx2.RemoteProtocolError):
    """The server answered with a retryable status. `after`: the seconds of its Retry-After, 0 without one."""

    def __init__(self, answer: httpx2.Response) -> None:
        super().__init__(f"the server answers {answer.status_code}")
        self.after = retry_after(answer.headers.get("retry-after"))


class FetchError(ModelFileError):
    """A fetch failed. What was fetched so far is kept, and the same command resumes from there."""


@dataclass(frozen=True)
class Remote:
    """One file as listed by the hub: git-lfs files by sha256, small ones by git's blob hash."""

    path: str
    bytes: int
    sha256: str = ""
    blob: str = ""


@dataclass(frozen=True)
class Listing:
    commit: str
    files: tuple[Remote, ...]


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def listing(repo: str, revision: str, *, sleep: Callable[[float], None] = time.sleep) -> Listing:
    """List a repository's files at `revision` (a branch, tag or commit), with its commit. Raises `FetchError`."""

    def ask() -> ModelInfo:
        try:
            return HfApi(endpoint=endpoint()).model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT)
        except errors.HfHubHTTPError as error:
            if error.response.status_code in _AWAY:
                raise _Later(error.response) from error
            raise

    with _told(repo):
        info = _tried(repo, ask, sleep)
    files = tuple(
        Remote(s.rfilename, s.size or 0, (s.lfs.sha256 if s.lfs else "").lower(), s.blob_id or "") for s in info.siblings or () if s.size
    )
    if not info.sha:
        raise FetchError(f"{repo}: {endpoint()} names no commit for {revision}. Is HF_ENDPOINT a hub?")
    return Listing(info.sha, files)


def url_of(repo: str, commit: str, path: str) -> str:
    return hf_hub_url(repo, path, revision=commit, endpoint=endpoint())


def size_of(url: str, *, sleep: Callable[[float], None] = time.sleep) -> int | None:
    """Return a URL's size in bytes, from a request for its first byte; None if the server does not tell. Raises `FetchError`."""

    def ask() -> int | None:
        with get_session().stream("GET", url, headers={"Range": "bytes=0-0", "Accept-Encoding": "identity"}, timeout=TIMEOUT) as answer:
            if answer.status_code in _AWAY:
                raise _Later(answer)
            answer.raise_for_status()
            total = answer.headers.get("Content-Range", "").rpartition("/")[2] if answer.status_code == 206 else None
            total = total or answer.headers.get("Content-Length", "")
            return int(total) if total.isdigit() else None

    name = url.partition("?")[0]
    with _told(name):
        return _tried(name, ask, sleep)


def _tried(name: str, ask: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """Call `ask`, up to `TRIES` times while the server answers with Retry-After. Other connection errors (`_CUT`) are raised at once: no
    download has started, so a missing network is reported without delay."""
    for vain in range(1, TRIES):
        try:
            return ask()
        except _Later as error:
            if not error.after:
                raise
            _rest(name, error, vain, sleep)
    return ask()


def _rest(name: str, error: Exception, vain: int, sleep: Callable[[float], None]) -> None:
    """Sleep before the next try: the server's Retry-After, at least the backoff for `vain` failed tries."""
    asked = error.after if isinstance(error, _Later) else 0.0
    if asked > WAIT * 2**vain:
        log.warning("%s: %s and asks to wait %.0f s. Waiting.", name, error, asked)
    sleep(max(WAIT * 2**vain, asked))


def fetch(url: str, part: Path, size: int | None, on_bytes: OnBytes, *, of_hub: bool, sleep: Callable[[float], None] = time.sleep) -> None:
    """Download `url` into the file `part`, resuming after the bytes that it has. The token is sent only to the hub.

    Raises `FetchError` when the server refuses, `TRIES` tries in a row make no progress, or it sends more than announced.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    name, vain = url.partition("?")[0], 0
    if size is not None and _length(part) > size:  # bytes of another file
        part.unlink()
    with _told(name):
        while (before := _length(part)) != size:
            cut: Exception = httpx2.RemoteProtocolError("it ended early")
            try:
                _transfer(url, part, on_bytes, of_hub)
                if size is None or _length(part) >= size:
                    break
            except _CUT as error:
                cut = error
            vain = 0 if _length(part) > before else vain + 1
            if vain >= TRIES:
                kept = f"{_length(part):,} bytes are kept, and the same command goes on from there"
                raise FetchError(f"{name}: the connection breaks again and again ({str(cut) or type(cut).__name__}); {kept}.")
            _rest(name, cut, vain, sleep)
    if size is not None and _length(part) > size:
        part.unlink()
        raise FetchError(f"{name}: the server sent more than the {size:,} bytes that were announced. Nothing of it is kept.")


def _transfer(url: str, part: Path, on_bytes: OnBytes, of_hub: bool) -> None:
    """Make one request and write its bytes as they arrive. Raises an error of `_CUT` when the connection breaks."""
    start = _length(part)
    headers = build_hf_headers() if of_hub else {}
    headers["Accept-Encoding"] = "identity"  # a Range counts encoded bytes
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as answer:
        if answer.status_code in _AWAY:
            raise _Later(answer)
        if answer.status_code == 416:  # no bytes after those we have
            return
        hf_raise_for_status(answer)
        # A server without range support sends the whole file (200): start over. Another range than requested is an error.
        resumed = start > 0 and answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if answer.status_code == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise httpx2.RemoteProtocolError("the server sent another range than was asked for")
        done = start if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            for chunk in answer.iter_raw():
                file.write(chunk)
                done += len(chunk)
                on_bytes(done)


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Translate the hub's errors into messages with a remedy. Never includes the answer's text or URL, which may hold a signature."""
    try:
        yield
    except errors.GatedRepoError as error:
        todo = f"Do so on its page of {endpoint()}, then set HF_TOKEN to a token of that account."
        raise FetchError(f"{what}: asks you to accept its licence. {todo}") from error
    except errors.RevisionNotFoundError as error:
        raise FetchError(f"{what}: has no such revision.") from error
    except errors.RepositoryNotFoundError as error:
        raise FetchError(f"{what}: is not on {endpoint()}, or is private: then set HF_TOKEN to a token that may read it.") from error
    except (errors.HfHubHTTPError, httpx2.HTTPStatusError) as error:
        status = error.response.status_code
        todo = "Set HF_TOKEN, or accept the licence on its page." if status in (401, 403) else "Try again later; what was fetched is kept."
        raise FetchError(f"{what}: the server answers {status}. {todo}") from error
    except errors.OfflineModeIsEnabled as error:
        raise FetchError(f"{what}: HF_HUB_OFFLINE is set. Unset it to fetch.") from error
    except _CUT as error:
        raise FetchError(f"{what}: {endpoint()} cannot be reached ({error or type(error).__name__}). What was fetched is kept.") from error
    except httpx2.InvalidURL as error:
        raise FetchError(f"{what}: is no URL.") from error
