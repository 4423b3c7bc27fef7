"""Delete the objects of what users deleted from their libraries. A front end deletes them too; this covers its failures, and outputs that
its page did not know of (thumbnails). Several processes may run at once: each object is leased to one of them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ourvidz.db.connection import Ambiguous, DatabaseAway
from ourvidz.storage.base import BucketMissing, PathRefused, StorageError

if TYPE_CHECKING:
    from ourvidz.db.connection import Database
    from ourvidz.storage.base import ArtifactStore

log = logging.getLogger("ourvidz.removals")

AT_ONCE = 50
LEASE = 300.0  # seconds to delete so many on a slow store
POLL = 5.0  # seconds between two polls
LEAVE = 5.0


class Remover:
    """`all_here`: the store holds every object that the database knows, so that a missing one is gone. A folder of this machine beside a
    database that others use holds only its own."""

    def __init__(self, db: Database, store: ArtifactStore, *, all_here: bool) -> None:
        self._db, self._store, self._all_here = db, store, all_here
        self._refused: Counter[str] = Counter()

    def round(self) -> int:
        """Delete what is due, at most `AT_ONCE`. Returns how many are gone. What the store fails to delete now is due again later."""
        rows = self._db.rows("select bucket, path from ourvidz.removals_lease(%s, %s)", (AT_ONCE, LEASE))
        gone = [(row["bucket"], row["path"]) for row in rows if self._delete(row["bucket"], row["path"])]
        if gone:
            self._db.rows("select ourvidz.removals_done(%s, %s)", ([b for b, _ in gone], [p for _, p in gone]))
        return len(gone)

    def _delete(self, bucket: str, path: str) -> bool:
        try:
            return self._store.delete(bucket, path) or self._all_here
        except BucketMissing:
            return self._all_here
        except PathRefused:
            return True  # a legacy row may hold any path; no object has this one
        except StorageError as error:
            reason = type(error).__name__
            self._refused[reason] += 1
            if self._refused[reason] == 1:  # once: an outage would fill the log
                log.warning("An object of a removed output could not be deleted now, and is tried again later: %s", error)
            return False


class Rounds(Protocol):
    def round(self) -> int: ...


def keep(rounds: Rounds, stop: threading.Event) -> None:
    """Run rounds until stopped."""
    while not stop.is_set():
        try:
            more = rounds.round() == AT_ONCE
        except (DatabaseAway, Ambiguous):  # the log has it: ourvidz.db.connection.Outage
            more = False
        if not more:
            stop.wait(POLL)


@contextmanager
def running(*all_of: Rounds) -> Iterator[None]:
    """Run these in threads beside this process's other work. A store that hangs holds up nothing: what was leased becomes due again."""
    stop = threading.Event()
    threads = [threading.Thread(target=keep, args=(one, stop), name=type(one).__name__, daemon=True) for one in all_of]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(LEAVE)
