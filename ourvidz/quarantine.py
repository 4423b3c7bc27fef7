"""Move what was taken down into the bucket `quarantine`, which the service key alone opens, and back when it is restored. Policies stop
reads at once, but a signed URL passes every policy, so the object must not stay at its path.

Several processes may run at once: each object is leased to one of them. A legal hold needs nothing here: nothing is deleted.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from ourvidz.storage.base import BucketMissing, ObjectExists, PathRefused, StorageError
from state.catalog import QUARANTINE

if TYPE_CHECKING:
    from ourvidz.db.connection import Database
    from ourvidz.storage.base import ArtifactStore

log = logging.getLogger("ourvidz.quarantine")

AT_ONCE = 50
LEASE = 300.0  # seconds to move so many on a slow store


def sealed_path(bucket: str, path: str) -> str:
    """Return the path of an object in `quarantine`: still under its user's folder, so that an erasure finds it."""
    user, _, rest = path.partition("/")
    return f"{user}/{bucket}/{rest}"


class Quarantine:
    """`all_here`: as for `Remover`: an object that is not in the store is nowhere."""

    def __init__(self, db: Database, store: ArtifactStore, *, all_here: bool) -> None:
        self._db, self._store, self._all_here = db, store, all_here
        self._refused: Counter[str] = Counter()

    def round(self) -> int:
        """List the folders of one suspended user, and move what is due, at most `AT_ONCE`. Returns how many were moved."""
        self._sweep()
        rows = self._db.rows("select bucket, path, away from ourvidz.quarantine_lease(%s, %s)", (AT_ONCE, LEASE))
        done = [row for row in rows if self._move(row["bucket"], row["path"], row["away"])]
        if done:
            columns = [[row[name] for row in done] for name in ("bucket", "path", "away")]
            self._db.rows("select ourvidz.quarantine_moved(%s, %s, %s)", tuple(columns))
        return len(done)

    def settle(self) -> int:
        """Run rounds until nothing is due. Returns how many were moved. For a command that must not leave it to others."""
        moved = 0
        while some := self.round():
            moved += some
        return moved

    def _sweep(self) -> None:
        for one in self._db.rows("select id, user_id::text from ourvidz.suspensions_take(%s)", (LEASE,)):
            try:
                for bucket, limit in self._store.buckets().items():
                    if limit.public or bucket == QUARANTINE:
                        continue
                    if found := self._found(bucket, one["user_id"]):
                        self._db.rows("select ourvidz.suspension_found(%s, %s, %s)", (one["id"], bucket, found))
            except StorageError as error:
                return self._note(error)  # listed again when the lease has expired
            self._db.rows("select ourvidz.suspension_swept(%s)", (one["id"],))

    def _found(self, bucket: str, user_id: str) -> list[str]:
        try:
            return list(self._store.list(bucket, user_id))
        except BucketMissing:
            return []

    def _move(self, bucket: str, path: str, away: bool) -> bool:
        """Move an object; True if it is where it should be."""
        names = (bucket, path), (QUARANTINE, sealed_path(bucket, path))
        (source, target) = names if away else names[::-1]
        try:
            if self._store.move(*source, *target):
                return True
            return self._all_here  # gone already; if it is uploaded once more, it is due again (ourvidz.artifact_uploaded)
        except ObjectExists:
            # Uploaded once more after the takedown: the first is kept, this one is deleted.
            return self._store.delete(bucket, path) if away else False
        except PathRefused:
            return True  # a legacy row may hold any path; no object has this one
        except StorageError as error:
            self._note(error)
            return False

    def _note(self, error: StorageError) -> None:
        reason = type(error).__name__
        self._refused[reason] += 1
        if self._refused[reason] == 1:  # once: an outage would fill the log
            log.warning("An object that was taken down could not be moved now, and is tried again: %s", error)
