"""Map error responses of Supabase Storage to the `StorageError` classes of `base`.

Its plain routes answer HTTP 400 with the true code as a string in the body (`statusCode`), beside a `code` and an older `error` word; its
resumable ones answer with the true code and a line of text; a gateway in front of it may answer anything. Checked against the source of
supabase/storage (`src/http/error-handler.ts`, `src/internal/errors/codes.ts`, `src/http/routes/tus/lifecycle.ts`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ourvidz import project_keys
from ourvidz.outbound.retry_after import retry_after
from ourvidz.storage.base import (
    BucketMissing,
    MediaTypeRefused,
    ObjectExists,
    ObjectMissing,
    ObjectTooLarge,
    PathRefused,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageUnavailable,
)

LONGEST_AFTER = 60.0
"""The most seconds of a Retry-After that are honoured; an executor holds a lease meanwhile."""

_BY_WORD: Mapping[str, type[StorageError]] = {
    "NoSuchBucket": BucketMissing,
    "Bucket not found": BucketMissing,  # servers older than `code`
    "NoSuchKey": ObjectMissing,
    "not_found": ObjectMissing,
    "InvalidKey": PathRefused,
    "InvalidMimeType": MediaTypeRefused,
    "invalid_mime_type": MediaTypeRefused,
    "InvalidJWT": StorageDenied,
    "SlowDown": StorageUnavailable,
}
_BY_CODE: Mapping[int, type[StorageError]] = {
    401: StorageDenied,
    402: StorageFull,  # a hosted project over its quota
    403: StorageDenied,
    404: ObjectMissing,
    408: StorageUnavailable,
    409: ObjectExists,
    410: ObjectMissing,
    413: ObjectTooLarge,
    415: MediaTypeRefused,
    423: StorageUnavailable,  # locked by another request
    429: StorageUnavailable,
    507: StorageFull,
}
_INTERRUPTED = "Request aborted"  # @tus/server's answer to the first of two requests for one upload, with status 400
_NOT_DONE = (429, 503)  # the request was rejected before it was executed


class Away(StorageUnavailable):
    """No answer, or no usable one. `done`: the request may have been executed anyway. `after`: seconds the server asks us to wait."""

    def __init__(self, message: str, *, done: bool, after: float = 0.0) -> None:
        super().__init__(message)
        self.done, self.after = done, after


class TooLarge(ObjectTooLarge):
    """Over the server's limit, which may be below the bucket's: a hosted project has one of its own."""

    def __init__(self, message: str) -> None:
        StorageError.__init__(self, message)


def told(status: int, body: bytes, headers: Mapping[str, str], doing: str) -> StorageError:
    """The `StorageError` for an answer. `doing` names the operation and the object; our request's headers stay out of the message."""
    said = _json(body)
    inner = str(said.get("statusCode", ""))
    code = int(inner) if inner.isdigit() else status
    words = [str(said.get(key, "")) for key in ("code", "error")]
    message = str(said.get("message") or "") or body[:200].decode(errors="replace")
    line = f"{doing}: {' '.join(message.split())[:200]} ({code}{' ' + words[0] if words[0] else ''})"
    leaf = next((_BY_WORD[word] for word in words if word in _BY_WORD), None) or _BY_CODE.get(code)
    if code == 400 and _INTERRUPTED in message:
        leaf = StorageUnavailable
    if leaf is StorageUnavailable or (leaf is None and code >= 500):
        after = retry_after(headers.get("retry-after"), LONGEST_AFTER)
        return Away(f"Supabase Storage did not do it. {line}", done=code not in _NOT_DONE, after=after)
    if leaf is ObjectTooLarge:
        return TooLarge(f"{line}. The limit is the bucket's, or the whole project's (Storage settings), whichever is less")
    if leaf is StorageDenied:
        if project_keys.is_disabled(message):
            return StorageDenied(f"{line}. {project_keys.REMEDY}")
        return StorageDenied(f"{line}. Look at {project_keys.SECRET} (or {project_keys.LEGACY}): it must be a secret key of this project")
    if leaf is BucketMissing:
        return BucketMissing(f"{line}. `ourvidz buckets sync` makes what is missing")
    if code < 400:
        return StorageError(f"{line}. It sends us elsewhere: write SUPABASE_URL as https://PROJECT.supabase.co")
    return (leaf or StorageError)(line)


def _json(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
