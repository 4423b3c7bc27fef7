"""What an artifact store is: objects under a bucket and a path, written once and never changed.

Two claims of one job write to different paths (`object_path` carries the claim number), and `put` never overwrites: so an executor
that has lost its lease cannot touch what the next one made. What it leaves behind is swept by path.

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
"""The one media type of each extension. An object's name therefore tells its type, and no adapter needs to keep it elsewhere."""

MAX_PATH = 255
"""Characters in an object path. Ours have about 90; Supabase allows 1,024 bytes and a file name 255."""

# ASCII alone: Supabase Storage refuses other letters in keys, and two spellings of one accent would be two objects there and one on
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
    """What a store must know of a bucket. Rows of the catalog satisfy it."""

    @property
    def max_bytes(self) -> int: ...
    @property
    def media_types(self) -> frozenset[str]: ...
    @property
    def public(self) -> bool: ...


class StorageError(Exception):
    """Base. `error_class` is the word for the job's event; the message is for people and stays out of it."""

    error_class = "storage"
    retryable = False


class PathRefused(StorageError):
    """The path is not one that `check_path` accepts, or leads through a symbolic link. The caller's mistake."""

    error_class = "path_refused"


class BucketMissing(StorageError):
    """There is no such bucket. A person makes it, or mends the configuration."""

    error_class = "bucket_missing"


class MediaTypeRefused(StorageError):
    """The bucket does not take this media type, or the path's extension says another one."""

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
    """The store does not let us: the key is wrong, or may not do this. A person mends the configuration."""

    error_class = "storage_denied"


class SourceLost(StorageError):
    """The file to store is missing, empty or unreadable. The spool has lost it: it must be made again, then stored."""

    error_class = "source_lost"
    retryable = True


class StorageFull(StorageError):
    """There is no room, or the quota is spent. Nothing half-written is left; a later try may fit."""

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
        """The buckets that this store takes, by name. Does no I/O."""

    def others(self) -> Sequence[str]:
        """Names of buckets that are there besides those, made by others: an erasure looks into them too. `list` and `clear` take them."""

    def put(self, bucket: str, path: str, source: Path, media_type: str) -> Stored:
        """Store the file `source`, streaming it; when this returns the object is whole and will survive a crash.

        If the path already holds the same content, that is success (a retried upload). Raises `ObjectExists` if it holds other
        content, `ObjectTooLarge`, `MediaTypeRefused`, `SourceLost` (also for an empty file), `StorageFull`. After an error
        nothing is stored.
        """

    def open(self, bucket: str, path: str) -> BinaryIO:
        """The object's bytes as a stream; the caller closes it. Raises `ObjectMissing`."""

    def read(self, bucket: str, path: str) -> bytes:
        """All of the object's bytes. Raises `ObjectMissing`."""

    def stat(self, bucket: str, path: str) -> Stored | None:
        """What is stored at the path, with the sha256 of what is there now; None if nothing is. May read the whole object."""

    def list(self, bucket: str, folder: str = "") -> Sequence[str]:
        """The paths of all objects under `folder`, at any depth, sorted. `folder` is whole segments ("user" or "user/job"), so
        that a user's erasure cannot take another whose id begins alike. Nothing there: empty.
        """

    def entries(self, bucket: str, folder: str = "") -> Iterator[Entry]:
        """The same objects, with size and time, in any order and as they are found: a bucket may hold more than fits in memory."""

    def sign(self, bucket: str, path: str, seconds: int) -> str:
        """An address at which anyone can read the object for so long, without a key. A folder's is a `file:` URL, which does not
        expire: its rights are the folder's own. Raises `ObjectMissing`.
        """

    def sweep_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove what uploads that were cut off have left, if they were begun before then; how many. No object is among them."""

    def delete(self, bucket: str, path: str) -> bool:
        """Delete the object; False if there was none, so that a sweep can be repeated."""

    def move(self, bucket: str, path: str, to_bucket: str, to_path: str) -> bool:
        """Give the object another name, in one step: it is never at both, nor at neither. False if there was none, so that a move whose
        answer was lost can be repeated. Raises `ObjectExists` where the other name is taken; then nothing was changed. Of limits and types
        nothing is asked: the object was admitted once.
        """

    def clear(self, bucket: str, folder: str) -> int:
        """Delete all that lies under `folder` (as in `list`), also what others put there under names that `list` leaves out: an
        erasure must. How many it was.
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
    """The path itself, if it is safe in every store: `/`-separated segments of ASCII letters, digits, `_`, `-` and `.`, none
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
    """What a path's extension says; None if it says nothing known. Extensions are lower case."""
    return EXTENSIONS.get(path.rpartition(".")[2])


def extension_of(media_type: str) -> str:
    """The first extension of a media type above. Raises `StopIteration` for another."""
    return next(ending for ending, kind in EXTENSIONS.items() if kind == media_type)


def admit(buckets: Mapping[str, BucketLimit], bucket: str, path: str, media_type: str, size: int) -> BucketLimit:
    """What every adapter asks before it takes a byte. `size` in bytes. Looks at names and figures only, never at content."""
    limit = check_bucket(buckets, bucket)
    check_path(path)
    if media_type not in limit.media_types:
        raise MediaTypeRefused(f"bucket {bucket!r} takes {', '.join(sorted(limit.media_types))}, not {media_type[:80]!r}")
    if media_type_of(path) != media_type:
        raise MediaTypeRefused(f"{path!r} does not have an extension of {media_type}")
    if size > limit.max_bytes:
        raise ObjectTooLarge(size, limit.max_bytes, bucket)
    return limit
