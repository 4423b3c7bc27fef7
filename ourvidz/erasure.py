"""Erase everything of one user: words in the database, objects in the buckets, files in this host's spool, dead letters in Redis. Events
stay, and still verify: they never held more than salted digests, and the salts are erased.

The order makes it safe to be killed anywhere and started again: first nothing new can come, then running jobs end, then words are erased,
then objects (found by their folder, not by rows that are gone). If an executor still writes for a job that it has lost, the database
refuses that, and the executor removes its object itself (docs/decisions/0026).
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ourvidz.db import safety
from ourvidz.intake import dead_letters
from ourvidz.intake.message import LEGACY_QUEUE, QUEUES
from ourvidz.intake.upstash import Upstash
from ourvidz.lifecycle import Jobs
from ourvidz.storage.base import ArtifactStore, BucketMissing
from state.errors import IllegalTransition, JobError

LOOK = 0.5  # seconds between two checks of running jobs
ROUNDS = 5  # of listing and deleting: the next round removes what an executor added meanwhile


LOGIN = (
    "The login is Supabase's, and has the e-mail: delete user {user} under Authentication, or by DELETE /auth/v1/admin/users/{user} "
    "with the service key. Where figures that stay (usage_logs) forbid that, ban it and change its e-mail."
)
REDIS = {
    True: "Messages that still wait in Redis cannot be told apart by user. Drained, they are refused and lie among the dead letters: "
    "erase again then.",
    False: "Upstash is not set up here: neither waiting messages nor dead letters were looked at.",
}
SPOOLS = "Spools of other hosts ({hosts}): erase again on each of them; otherwise those files go when the spool is full."
TABLES = "Tables of the project's own with rows that name user {user}: {tables}. Delete or blank those yourself."
COPIES = (
    "Copies beside the database: its backups and its write-ahead log, until they run out; uploads that were cut off, until `ourvidz "
    "buckets sweep`; what receivers were told."
)


class StillRunning(JobError):
    """Executors that were asked to stop still hold jobs of the user. Nothing of the user's was erased yet."""

    code = "still_running"


class StillWritten(JobError):
    """Objects of the user are written as fast as they are deleted."""

    code = "still_written"


@dataclass(frozen=True)
class Erased:
    """Result of an erasure. `counts`: rows, objects and files of each kind, summed over interrupted tries."""

    user_id: str
    finished_at: datetime | None  # None: a dry run
    counts: Mapping[str, int] = field(default_factory=dict)
    remains: tuple[str, ...] = ()  # what is not ours to erase, and what to do about it


@dataclass(frozen=True)
class Eraser:
    """Erases a user's data. `redis` is None if Upstash is not set up."""

    jobs: Jobs
    store: ArtifactStore
    spool: Path
    redis: Upstash | None = None
    say: Callable[[str], None] = lambda _: None

    def look(self, user_id: str) -> Erased:
        """Count what `erase` would remove. Changes nothing; raises what it would raise at once."""
        counts = safety.erase_user_data(self.jobs.db, user_id, dry_run=True)
        counts["unfinished_jobs"] = len(safety.unfinished(self.jobs.db, user_id))
        counts["objects"] = sum(len(self._objects(bucket, user_id)) for bucket in self._buckets())
        counts["spool"] = sum((self.spool / job_id).is_dir() for job_id in safety.job_ids(self.jobs.db, user_id))
        return Erased(user_id, None, counts, self._remains(user_id))

    def erase(self, user_id: str, *, by: str, reason: str | None = None, timeout_s: float = 120.0) -> Erased:
        """Erase the user's data. Raises `LegalHold`, `NotFound`, `StillRunning` after `timeout_s` seconds, `StorageError`; after any of
        them a new call goes on."""
        db = self.jobs.db
        safety.erase_begin(db, user_id, reason, by)
        self._end_jobs(user_id, by, timeout_s)
        self.say("No job of theirs is left unfinished.")
        safety.erase_user_data(db, user_id)
        safety.sample_again(db)
        self.say("Their words are gone from the database.")
        for bucket in self._buckets():
            self._empty(bucket, user_id)
        for job_id in safety.job_ids(db, user_id):
            with suppress(FileNotFoundError):
                shutil.rmtree(self.spool / job_id)
                safety.erase_add_counts(db, user_id, {"spool": 1})
        if self.redis is not None:
            dropped = sum(dead_letters.drop_of(self.redis, queue, user_id) for queue in (*QUEUES, LEGACY_QUEUE))
            safety.erase_add_counts(db, user_id, {"dead_letters": dropped})
        done = safety.erase_finish(db, user_id)
        return Erased(user_id, done["finished_at"], done["counts"], self._remains(user_id))

    def _end_jobs(self, user_id: str, by: str, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        while left := safety.unfinished(self.jobs.db, user_id):
            for job in left:
                if not job["cancel_requested"]:
                    with suppress(IllegalTransition):  # it has just ended by itself
                        self.jobs.cancel(job["id"], actor=by)
            # The reaper ends jobs whose executor is dead; called here, in case none runs.
            self.jobs.reap()
            if held := [job["executor"] for job in left if job["executor"]]:
                if time.monotonic() > until:
                    raise StillRunning(
                        f"User {user_id}: {len(held)} jobs are still held after {timeout_s:g} s, by "
                        f"{', '.join(sorted(set(held)))}. They were asked to stop, and nothing new can be queued. "
                        "Look at those executors, then erase again: it goes on here."
                    )
                self.say(f"Waiting for {len(held)} jobs to stop.")
                time.sleep(LOOK)

    def _buckets(self) -> Sequence[str]:
        """Our buckets and all others: references and results of a legacy system may be in those."""
        return [*self.store.buckets(), *self.store.others()]

    def _objects(self, bucket: str, user_id: str) -> list[str]:
        try:
            return list(self.store.list(bucket, user_id))
        except BucketMissing:
            return []  # a project that has not made all of them

    def _empty(self, bucket: str, user_id: str) -> None:
        with suppress(BucketMissing):  # a project that has not made all of them
            for _ in range(ROUNDS):
                safety.erase_add_counts(self.jobs.db, user_id, {})  # a hold may have come
                if not (gone := self.store.clear(bucket, user_id)):
                    return
                safety.erase_add_counts(self.jobs.db, user_id, {"objects": gone})
            raise StillWritten(f"Bucket {bucket} still gets objects of user {user_id}. Find out who puts them there, then erase again.")

    def _remains(self, user_id: str) -> tuple[str, ...]:
        theirs = [
            f"{row['relation']} ({row['by_column']}, {'not readable by this login' if row['rows'] is None else row['rows']})"
            for row in safety.erasure_unhandled_rows(self.jobs.db, user_id)
        ]
        elsewhere = [host for host in safety.hosts(self.jobs.db) if host != socket.gethostname()]
        return tuple(
            line.format(user=user_id, hosts=", ".join(elsewhere), tables=", ".join(theirs))
            for line in (LOGIN, TABLES, REDIS[self.redis is not None], SPOOLS, COPIES)
            if (elsewhere or line is not SPOOLS) and (theirs or line is not TABLES)
        )  # fmt: skip
