"""Objects that no artifact names: left in storage by claims that lost their job, and by interrupted erasures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from ourvidz.db.connection import Database
from ourvidz.db.objects import unnamed
from ourvidz.storage.base import ArtifactStore
from state.catalog import JOB_TYPES

BUCKETS = (*JOB_TYPES, "video-thumbnails")
"""Buckets that executors write to. Objects elsewhere were put there by others."""

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OURS = re.compile(rf"{_UUID}/{_UUID}/[1-9][0-9]*-[0-9]+\.[a-z0-9]+")  # as `object_path` makes them; legacy systems named theirs otherwise
_AT_ONCE = 500


@dataclass(frozen=True)
class Orphan:
    bucket: str
    path: str
    bytes: int
    written: datetime
    known: bool
    """Whether the database knows the job. If not, it may be another project's."""


def orphans(db: Database, store: ArtifactStore, before: datetime) -> Iterator[Orphan]:
    """Yield orphans written before `before`."""
    for bucket in BUCKETS:
        ours = (entry for entry in store.entries(bucket) if entry.written < before and _OURS.fullmatch(entry.path))
        while some := {entry.path: entry for entry in islice(ours, _AT_ONCE)}:
            for path, known in unnamed(db, bucket, list(some)).items():
                yield Orphan(bucket, path, some[path].bytes, some[path].written, known)
