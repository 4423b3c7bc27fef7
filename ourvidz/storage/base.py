"""The artifact store protocol: objects under a bucket and a path, written once and never changed.

Two claims of one job write to different paths (`object_path` carries the claim number), and `put` never overwrites: so an executor
that has lost its lease cannot touch the next one's output. What it leaves behind is swept by path.

Every adapter passes `tests/contract/artifact_store.py`, and admits an upload through `admit`, so that the folder refuses what
Supabase Storage would refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import UUID

EXTENSIONS: Mapping[str, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "avif": "image/avif",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "json": "application/json",
    "txt": "text/plain",
}
"""The media type of each extension. An object's type follows from its name, so no adapter needs to store it."""

MAX_PATH = 255
"""Characters in an object path. Ours have about 90; Supabase allows 1,024 bytes and a file name 255."""

# ASCII only: Supabase Storage refuses other letters in keys, and two spellings of one accent would be two objects there and one on
# a Mac. No leading dot, so that nothing can reach a store's own hidden folders, and no `..`.
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Stored:
    """An object as it is in the store. `bytes` is its size, `sha256` 64 hex digits of its content."""

    bucket: str
    path: str
    bytes: int
    sha256: str
    media_type: str


@dataclass(frozen=True)
class Entry:
    """A line of a listing: the object's size in bytes, and when it was written (UTC, by the store's clock)."""

    path: str
    bytes: int
    written: datetime


class BucketLimit(Protocol):
    """A bucket's limits. Rows of the catalog satisfy it."""

    @property
    def max_bytes(self) -> int: ...
    @property
    def media_types(self) -> frozenset[str]: ...
    @property
    def public(self) -> bool: ...


class StorageError(Exception):
    """Base class. `error_class` goes into the job's event; the message is for people and does not."""

    error_class = "storage"
    retryable = False


class PathRefused(StorageError):
    """The path is not one that `check_path` accepts, or leads through a symbolic link. The caller's mistake."""

    error_class = "path_refused"


class BucketMissing(StorageError):
    """There is no such bucket. An operator has to create it or fix the configuration."""

    error_class = "bucket_missing"


class MediaTypeRefused(StorageError):
    """The bucket does not accept this media type, or the path has the extension of another one."""

    error_class = "media_type_refused"


class ObjectTooLarge(StorageError):
    """The file is over the bucket's limit. The same file never fits."""

    error_class = "object_too_large"

    def __init__(self, size: int, limit: int, bucket: str) -> None:
        super().__init__(f"a file of {size:,} bytes is over the limit of bucket {bucket!r}, {limit:,} bytes")
        self.size, self.limit, self.bucket = size, limit, bucket


class ObjectExists(StorageError):
    """Another object has this path, with other content. Nothing was changed."""

    error_class = "object_exists"


class ObjectMissing(StorageError):
    """There is no object at this path."""

    error_class = "object_missing"


class StorageDenied(StorageError):
    """The store denies access: the key is wrong, or may not do this. An operator has to fix the configuration."""

    error_class = "storage_denied"


class SourceLost(StorageError):
    """The file to store is missing, empty or unreadable. The spool has lost it: it must be generated again, then stored."""

    error_class = "source_lost"
    retryable = True


class StorageFull(StorageError):
    """There is no space, or the quota is used up. Nothing half-written is left; a later try may fit."""

    error_class = "storage_full"
    retryable = True


class StorageUnavailable(StorageError):
    """The store did not answer, or answered with an error of its own. Try again later."""

    error_class = "storage_unavailable"
    retryable = True


class ArtifactStore(Protocol):
    """Objects in buckets. Safe to use from several threads and processes at once.

    Every method may raise `BucketMissing`, `PathRefused`, `StorageDenied` and `StorageUnavailable`.
    """

    def buckets(self) -> Mapping[str, BucketLimit]:
        """The buckets that this store accepts, by name. Does no I/O."""

    def others(self) -> Sequence[str]:
        """Names of all other buckets in the store: an erasure searches them too. `list` and `clear` accept them."""

    def put(self, bucket: str, path: str, source: Path, media_type: str) -> Stored:
        """Store the file `source`, streaming it; when this returns, the object is complete and durable.

        If the path already holds the same content, that is success (a retried upload). Raises `ObjectExists` if it holds other
        content, `ObjectTooLarge`, `MediaTypeRefused`, `SourceLost` (also for an empty file), `StorageFull`. After an error
        nothing is stored.
        """

    def open(self, bucket: str, path: str) -> BinaryIO:
        """The object's bytes as a stream; the caller closes it. Raises `ObjectMissing`."""

    def read(self, bucket: str, path: str) -> bytes:
        """All of the object's bytes. Raises `ObjectMissing`."""

    def stat(self, bucket: str, path: str) -> Stored | None:
        """The object at the path, with the sha256 of its current content; None if there is none. May read the whole object."""

    def list(self, bucket: str, folder: str = "") -> Sequence[str]:
        """The paths of all objects under `folder`, at any depth, sorted. `folder` is whole segments ("user" or "user/job"), so
        that a user's erasure cannot match another whose id begins alike. Empty if nothing is there.
        """

    def entries(self, bucket: str, folder: str = "") -> Iterator[Entry]:
        """The same objects, with size and time, in any order, streamed: a bucket may hold more than fits in memory."""

    def sign(self, bucket: str, path: str, seconds: int) -> str:
        """A URL at which anyone can read the object for `seconds`, without a key. A folder's is a `file:` URL, which does not expire
        and is subject to the folder's permissions. Raises `ObjectMissing`.
        """

    def sweep_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove the leftovers of interrupted uploads that began before `before`, but no object; returns how many."""

    def delete(self, bucket: str, path: str) -> bool:
        """Delete the object; False if there was none, so that a sweep can be repeated."""

    def move(self, bucket: str, path: str, to_bucket: str, to_path: str) -> bool:
        """Rename the object; at no moment is it at neither name. False if there was none, so that a move whose answer was lost can be
        repeated. Raises `ObjectExists` if the new name is taken; then nothing was changed. Limits and types are not checked: the object
        was admitted once.
        """

    def clear(self, bucket: str, folder: str) -> int:
        """Delete everything under `folder` (as in `list`), including files of others under names that `list` leaves out, as an erasure
        requires. Returns how many.
        """


def object_path(user_id: str | UUID, job_id: str | UUID, claim_no: int, index: int, ext: str) -> str:
    """The path of a job's `index`-th output (from 0) made under claim `claim_no` (from 1). Raises `PathRefused`."""
    if claim_no < 1 or index < 0 or ext not in EXTENSIONS:
        raise PathRefused(f"no object path for claim {claim_no}, index {index}, extension {ext!r}")
    path = f"{user_id}/{job_id}/{claim_no}-{index}.{ext}"
    if path.count("/") != 2:
        raise PathRefused(f"a user id or job id holds a slash: {path!r}")
    return check_path(path)


def thumbnail_path(user_id: str | UUID, job_id: str | UUID, claim_no: int, index: int) -> str:
    """The path of that output's thumbnail: beside an image in its bucket, or in `video-thumbnails`."""
    return object_path(user_id, job_id, claim_no, index, "webp")


def check_path(path: str) -> str:
    """Return the path, if it is safe in every store: `/`-separated segments of ASCII letters, digits, `_`, `-` and `.`, none
    beginning with a dot or hyphen or ending with a dot. Raises `PathRefused`.
    """
    if len(path) > MAX_PATH or not all(_SEGMENT.fullmatch(s) and not s.endswith(".") for s in path.split("/")):
        raise PathRefused(f"not a safe object path: {path[:80]!r}")
    return path


def check_bucket(buckets: Mapping[str, BucketLimit], bucket: str) -> BucketLimit:
    """The bucket's limits. Raises `BucketMissing`."""
    if bucket not in buckets:
        raise BucketMissing(f"there is no bucket {bucket[:80]!r}")
    return buckets[bucket]


def media_type_of(path: str) -> str | None:
    """The media type of a path's extension; None if it is unknown. Extensions are lower case."""
    return EXTENSIONS.get(path.rpartition(".")[2])


def extension_of(media_type: str) -> str:
    """The first extension of a media type above. Raises `StopIteration` for another."""
    return next(ending for ending, kind in EXTENSIONS.items() if kind == media_type)


def admit(buckets: Mapping[str, BucketLimit], bucket: str, path: str, media_type: str, size: int) -> BucketLimit:
    """The checks that every adapter makes before an upload. `size` in bytes. Checks names and numbers only, never content."""
    limit = check_bucket(buckets, bucket)
    check_path(path)
    if media_type not in limit.media_types:
        raise MediaTypeRefused(f"bucket {bucket!r} takes {', '.join(sorted(limit.media_types))}, not {media_type[:80]!r}")
    if media_type_of(path) != media_type:
        raise MediaTypeRefused(f"{path!r} does not have an extension of {media_type}")
    if size > limit.max_bytes:
        raise ObjectTooLarge(size, limit.max_bytes, bucket)
    return limit
