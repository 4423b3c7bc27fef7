"""Deletes the objects of what users deleted from their libraries. A front end deletes them too; this does it where that failed, and for
outputs that its page did not know of (thumbnails). Several may run at once: each object is lent to one of them.
"""

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
LEASE = 300.0  # seconds in which so many are deleted, waiting for a slow store
POLL = 5.0  # seconds between two looks
LEAVE = 5.0


class Remover:
    """`all_here`: the store holds every object that the database knows, so that what is not there is gone. A folder of this machine
    beside a database that others use holds only its own."""

    def __init__(self, db: Database, store: ArtifactStore, *, all_here: bool) -> None:
        self._db, self._store, self._all_here = db, store, all_here
        self._refused: Counter[str] = Counter()

    def round(self) -> int:
        """Delete what is due, at most `AT_ONCE`; how many are gone. What the store does not delete now is due again later."""
        rows = self._db.rows("select bucket, path from ourvidz.removals_take(%s, %s)", (AT_ONCE, LEASE))
        gone = [(row["bucket"], row["path"]) for row in rows if self._delete(row["bucket"], row["path"])]
        if gone:
            self._db.rows("select ourvidz.removals_gone(%s, %s)", ([b for b, _ in gone], [p for _, p in gone]))
        return len(gone)

    def _delete(self, bucket: str, path: str) -> bool:
        try:
            return self._store.delete(bucket, path) or self._all_here
        except BucketMissing:
            return self._all_here
        except PathRefused:
            return True  # a row of an older system may say anything; no object is called so
        except StorageError as error:
            reason = type(error).__name__
            self._refused[reason] += 1
            if self._refused[reason] == 1:  # once: an outage would fill the log
                log.warning("An object of a removed output could not be deleted now, and is tried again later: %s", error)
            return False


class Rounds(Protocol):
    def round(self) -> int: ...


def keep(rounds: Rounds, stop: threading.Event) -> None:
    """Round after round, until stopped."""
    while not stop.is_set():
        try:
            more = rounds.round() == AT_ONCE
        except (DatabaseAway, Ambiguous):  # the log has it: ourvidz.db.connection.Outage
            more = False
        if not more:
            stop.wait(POLL)


@contextmanager
def running(*all_of: Rounds) -> Iterator[None]:
    """Beside whatever else this process does. A store that hangs holds up nothing: what was lent is due again."""
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
