"""An artifact store in Supabase Storage.

Storage checks if a path is taken when an upload *begins*, and overwrites it when the upload *ends*: two overlapping uploads would both
succeed, the later one overwriting the earlier. A move, however, is refused by the database's unique key. So an object is uploaded under a
hidden name that contains its hash, and then moved to its own: of two writers one wins, no reader sees half an object, and an upload whose
answer was lost can be looked up by name. `sweep_unfinished` removes what killed writers leave under hidden names.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from ourvidz.storage import tus
from ourvidz.storage.api import Api, Patience, understood
from ourvidz.storage.base import (
    BucketLimit,
    Entry,
    ObjectExists,
    ObjectMissing,
    PathRefused,
    SourceLost,
    StorageError,
    StorageUnavailable,
    Stored,
    admit,
    check_bucket,
    check_path,
)
from ourvidz.storage.refusals import Away
from ourvidz.storage.source import CHUNK, hashed, opened, settle

RESUMABLE = tus.PIECE
"""Bytes above which an upload is resumable (Supabase's advice)."""

HIDDEN = ".staging/"  # no path and no user's folder of ours begins with a dot
_PAGE = 1000  # the most that a listing returns
_AT_ONCE = 200  # names in a delete request: at their longest they take 200 kB


class SupabaseStorage:
    """An `ArtifactStore` at `url` (https://….supabase.co) with the project's secret or service key. Makes no request until it is used."""

    def __init__(self, url: str, key: str, buckets: Mapping[str, BucketLimit], patience: Patience | None = None) -> None:
        self.api = Api(url, key, patience or Patience())
        self._buckets = dict(buckets)

    def buckets(self) -> Mapping[str, BucketLimit]:
        return self._buckets

    def others(self) -> Sequence[str]:
        doing = "listing the buckets"
        response = self.api.ask("GET", "/bucket", doing)
        with understood(doing):
            return sorted(str(found["id"]) for found in response.json() if found["id"] not in self._buckets)

    def put(self, bucket: str, path: str, source: Path, media_type: str) -> Stored:
        with opened(source) as file:
            before = os.fstat(file.fileno())
            admit(self._buckets, bucket, path, media_type, before.st_size)
            size, sha256 = hashed(file)
            # Before the upload, so that a retry of one that succeeded sends nothing.
            if (present := self.stat(bucket, path)) is not None:
                return settle(present, sha256)
            target = tus.Target(bucket, f"{HIDDEN}{path}.{sha256[:32]}", media_type, size)
            note = tus.note_of(source)
            self._stage(target, file, note)
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                self._discard(target)
                raise SourceLost(f"{source.name!r} changed while it was sent")
            self._publish(target, path, sha256)
            with suppress(OSError):
                note.unlink(missing_ok=True)
            return Stored(bucket, path, size, sha256, media_type)

    def open(self, bucket: str, path: str) -> BinaryIO:
        doing = f"reading {bucket}/{self._checked(bucket, path)}"
        response = self.api.ask("GET", f"/object/authenticated/{bucket}/{path}", doing, stream=True)
        return io.BufferedReader(_Body(response, doing), CHUNK)

    def read(self, bucket: str, path: str) -> bytes:
        with self.open(bucket, path) as file:
            return file.read()

    def stat(self, bucket: str, path: str) -> Stored | None:
        """Reads the whole object: its metadata are only what the uploader claimed."""
        try:
            _, media_type = self._info(bucket, self._checked(bucket, path))
            with self.open(bucket, path) as file:
                size, sha256 = hashed(file)
        except ObjectMissing:
            return None
        return Stored(bucket, path, size, sha256, media_type)

    def list(self, bucket: str, folder: str = "") -> Sequence[str]:
        return sorted(entry.path for entry in self.entries(bucket, folder))

    def entries(self, bucket: str, folder: str = "") -> Iterator[Entry]:
        bucket = self._there(bucket)
        prefix = f"{check_path(folder.rstrip('/'))}/" if folder else ""
        return (entry for entry in self._pages(bucket, prefix) if _is_ours(entry.path))

    def sign(self, bucket: str, path: str, seconds: int) -> str:
        doing = f"signing {bucket}/{self._checked(bucket, path)}"
        response = self.api.ask("POST", f"/object/sign/{bucket}/{path}", doing, json={"expiresIn": seconds})
        with understood(doing):
            return f"{self.api.url}{response.json()['signedURL']}"

    def sweep_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        swept = 0
        for bucket in self._buckets:
            # The whole list before the first delete: killed writers leave little.
            for entry in [e for e in self._pages(bucket, HIDDEN) if e.written < before]:
                swept += dry_run or self._delete(bucket, entry.path)
        return swept

    def delete(self, bucket: str, path: str) -> bool:
        return self._delete(bucket, self._checked(bucket, path))

    def move(self, bucket: str, path: str, to_bucket: str, to_path: str) -> bool:
        doing = f"moving {bucket}/{self._checked(bucket, path)} to {to_bucket}/{self._checked(to_bucket, to_path)}"
        asked = {"bucketId": bucket, "sourceKey": path, "destinationBucket": to_bucket, "destinationKey": to_path}
        try:
            self.api.ask("POST", "/object/move", doing, json=asked)
        except ObjectMissing:
            return False
        return True

    def clear(self, bucket: str, folder: str) -> int:
        bucket = self._there(bucket)
        found = [entry.path for entry in self._pages(bucket, f"{check_path(folder.rstrip('/'))}/")]  # all: deleting shifts pages
        for n in range(0, len(found), _AT_ONCE):
            # Users chose these names. In a URL a `..` would lead to another user's object; in a body nothing is resolved.
            asked = {"prefixes": found[n : n + _AT_ONCE]}
            self.api.ask("DELETE", f"/object/{bucket}", f"clearing {bucket}/{folder}", json=asked)
        return len(found)

    # -- the two steps of an upload -------------------------------------------------------------------------------------------------

    def _stage(self, target: tus.Target, file: BinaryIO, note: Path) -> None:
        """Upload under the hidden name. The name contains the content's hash, so a complete object there is ours, whoever uploaded it."""
        for attempt in self.api.patience((Away, ObjectExists)):
            with attempt:
                if attempt.retry_state.attempt_number > 1 and self._is_whole(target):
                    return
                if target.size > RESUMABLE:
                    tus.upload(self.api, target, file, note)
                    if not self._is_whole(target):  # the server has the bytes, but died before it created the object
                        note.unlink(missing_ok=True)
                        raise Away(f"{target}: all bytes are there, and no object", done=True)
                    return
                headers = {"content-type": target.media_type, "content-length": str(target.size), "cache-control": "max-age=3600"}
                body = tus.span(file, 0, target.size)
                self.api.send("POST", f"/object/{target.bucket}/{target.name}", str(target), headers=headers, content=body)

    def _publish(self, target: tus.Target, path: str, sha256: str) -> None:
        """Move it to its own name. After an error, the object found at that name decides if it was done."""
        doing = f"publishing {target.bucket}/{path}"
        asked = {"bucketId": target.bucket, "sourceKey": target.name, "destinationKey": path}
        for attempt in self.api.patience():
            with attempt:
                try:
                    self.api.send("POST", "/object/move", doing, json=asked)
                except (Away, ObjectExists, ObjectMissing) as error:
                    present = self.stat(target.bucket, path)
                    if present is None and isinstance(error, Away):
                        raise
                    if present is None:
                        raise StorageUnavailable(f"{doing}: what was uploaded is gone again") from error
                    if isinstance(error, ObjectExists):
                        self._discard(target)
                    settle(present, sha256)

    def _is_whole(self, target: tus.Target) -> bool:
        try:
            return self._info(target.bucket, target.name)[0] == target.size
        except ObjectMissing:
            return False

    def _discard(self, target: tus.Target) -> None:
        with suppress(StorageError):  # the sweep removes it
            self._delete(target.bucket, target.name)

    # -- shared by hidden and own names ---------------------------------------------------------------------------------------------

    def _checked(self, bucket: str, path: str) -> str:
        check_bucket(self._buckets, bucket)
        return check_path(path)

    def _there(self, bucket: str) -> str:
        """The bucket's name, quoted for a URL. Raises `BucketMissing` unless it is one of ours or in the project."""
        if bucket not in self._buckets and bucket not in self.others():
            check_bucket(self._buckets, bucket)  # raises
        return quote(bucket, safe="")

    def _info(self, bucket: str, name: str) -> tuple[int, str]:
        """Size in bytes and media type, from the server's metadata."""
        doing = f"looking at {bucket}/{name}"
        response = self.api.ask("GET", f"/object/info/authenticated/{bucket}/{name}", doing)
        with understood(doing):
            found = response.json()
            return int(found["size"]), str(found["content_type"])

    def _delete(self, bucket: str, name: str) -> bool:
        try:
            self.api.ask("DELETE", f"/object/{bucket}/{name}", f"deleting {bucket}/{name}")
        except ObjectMissing:
            return False
        return True

    def _pages(self, bucket: str, prefix: str) -> Iterator[Entry]:
        doing, asked = f"listing {bucket}/{prefix}", {"prefix": prefix, "limit": _PAGE}
        while asked:
            response = self.api.ask("POST", f"/object/list-v2/{bucket}", doing, json=asked)
            with understood(doing):
                page = response.json()
                found = [_entry(row) for row in page["objects"]]
                asked = {**asked, "cursor": page["nextCursor"]} if page["hasNext"] else {}
            yield from found


def _entry(row: Mapping[str, Any]) -> Entry:
    size = (row["metadata"] or {}).get("size") or 0  # null in some server versions until the upload is complete
    return Entry(str(row["name"]), int(size), datetime.fromisoformat(row["created_at"]))


class _Body(io.RawIOBase):
    """A streamed response body as a raw stream."""

    def __init__(self, response: httpx.Response, doing: str) -> None:
        self._response, self._doing = response, doing
        self._chunks, self._rest = response.iter_raw(), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while not self._rest:
                self._rest = next(self._chunks)
        except StopIteration:
            return 0
        except httpx.TransportError as error:
            raise Away(f"Supabase Storage broke off. {self._doing}: {type(error).__name__}", done=False) from error
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self._response.close()
        super().close()


def _is_ours(path: str) -> bool:
    """Return True if `open` accepts the path. Other names in a bucket (placeholders, hidden ones) are not listed."""
    with suppress(PathRefused):
        return bool(check_path(path))
    return False
