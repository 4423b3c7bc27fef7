"""Moves messages from Redis queues into Postgres: at least once out of Redis, exactly one job per message id in Postgres.

    queue ──move──▶ queue:processing ──intake()──▶ committed ──acknowledge──▶ gone
      └──too large──▶ queue:dead     └──refused──▶ queue:dead (with the reason), atomically

A message leaves the processing list only after its job is committed, or when it is in the dead-letter list. So after any failure (a lost
reply, a killed drainer, a Redis outage) it is still in one of the lists and is taken again; taken twice it is the same job, by its id.

No list content can block it: oversized messages are measured and moved to the dead letters inside Redis, a key of another type is renamed,
and requests and responses are small enough for Upstash (ourvidz.intake.lists).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from ourvidz.db import intake
from ourvidz.db.connection import Ambiguous, Database, DatabaseAway
from ourvidz.intake import dead_letters, lists, sharing
from ourvidz.intake.message import RefusedMessage, Taken, digest, read
from ourvidz.intake.upstash import QuotaSpent, RedisAway, Upstash
from ourvidz.waiting_reports import Troubles

log = logging.getLogger("ourvidz.intake")

BATCH = 50  # messages in one request and one transaction
FIRST_WAIT, CALM_WAIT, IDLE_WAIT = 0.05, 2.0, 8.0  # seconds: after the last message, at most soon after, at most when idle
IDLE_AFTER = 600.0
"""Seconds without a message until the intake is idle. Each poll is one command: a day without messages costs 12,700, and a month of them
leaves a fifth of the 500,000 in Upstash's free plan."""
AWAY_WAIT, QUOTA_WAIT = 30.0, 300.0  # seconds at most: while Redis or Postgres is away, while Upstash's plan is used up
PART = "intake"
SWEEP = 30.0  # seconds between two checks of the processing lists


def processing(queue: str) -> str:
    return f"{queue}:processing"


@dataclass
class Drainer:
    """Drains `queues`, one pass at a time. Several drainers may share queues: that may duplicate work, but loses no message."""

    db: Database
    redis: Upstash
    queues: Sequence[str]
    batch: int = BATCH
    patience: float = 60.0  # seconds for which a pass retries while the database is away
    shared: Callable[[], Collection[str] | None] = lambda: None  # whose messages to take; None: everybody's (ourvidz.intake.sharing)
    at: Callable[[str], None] = lambda point: None  # test hook: called with a name between any two steps
    totals: dict[str, int] = field(default_factory=dict)
    _swept: float = -SWEEP
    _order: tuple[str, ...] = ()
    _users: Collection[str] | None = None

    def once(self) -> int:
        """One pass: leftovers in the processing lists, every `SWEEP` seconds, then the queues. Returns how many messages went into
        Postgres or to the dead letters. Raises `RedisAway`, `RedisRefused`, `DatabaseAway`; unhandled messages stay in their lists."""
        handled, self._users = 0, self.shared()
        if not lists.any_there(self.redis, [key for queue in self.queues for key in (queue, processing(queue))]):
            return 0
        if time.monotonic() - self._swept >= SWEEP:
            handled = sum(self._handle(queue, found) for queue in self.queues for found in self._left(queue))
            self._swept = time.monotonic()
        try:
            for queue, found in self._fetch().items():
                handled += self._handle(queue, found)
        except BaseException:
            self._swept = -SWEEP  # an answer may have been lost: the next pass checks the processing lists first
            raise
        return handled

    def _left(self, queue: str) -> list[lists.Found]:
        """Read the whole list before handling any message: handled ones leave the list, which shifts the rest."""
        return list(lists.look(self.redis, processing(queue), 10 * BATCH, bury=(dead_letters.key(queue), dead_letters.too_large(queue))))

    def _fetch(self) -> dict[str, lists.Found]:
        if self._users is not None:
            found = sharing.fetch(self.redis, self.queues, {q: processing(q) for q in self.queues}, self._users, self.batch)
            self.at("fetched")
            return {queue: lists.Found(raws, []) for queue, raws in found.items()}
        # One command for all queues: Upstash counts each command and waits for its disk after each. The queues take turns at being first,
        # as only the first has room for a message of any size.
        queues = self._order = (*self._order[1:], self._order[0]) if self._order else tuple(self.queues)
        keys = [(queue, processing(queue), dead_letters.key(queue)) for queue in queues]
        answers = lists.move(self.redis, keys, self.batch, [dead_letters.too_large(queue) for queue in queues])
        self.at("fetched")
        return dict(zip(queues, answers, strict=True))

    def _handle(self, queue: str, found: lists.Found) -> int:
        taken: list[Taken] = []
        self._buried(queue, found.too_large)
        for raw in found.messages:
            try:
                message = read(raw)
                taken.append(message if self._users is None else replace(message, asked=sharing.alone(message.asked)))
            except RefusedMessage as refusal:
                self._refuse(queue, raw, refusal, counted=False)
        if taken:
            self._commit(queue, taken)
        return len(found.messages) + len(found.too_large)

    def _commit(self, queue: str, taken: Sequence[Taken]) -> None:
        try:
            done = intake.take(self.db, queue, [message.asked for message in taken], patience=self.patience)
        except intake.Indigestible as error:
            if len(taken) > 1:
                for message in taken:
                    self._commit(queue, [message])
                return
            self._refuse(queue, taken[0].raw, RefusedMessage(error.sqlstate, str(error), "", taken[0].id), counted=False)
            return
        self.at("committed")
        settled = []
        for message, became in zip(taken, done, strict=True):
            if became["outcome"] == "refused":
                refusal = RefusedMessage(became["reason"], became["detail"], became.get("field", ""), message.id)
                self._refuse(queue, message.raw, refusal, counted=True)
            else:
                self._count(became["outcome"])
                settled.append(message.raw)
        if settled:
            lists.remove(self.redis, processing(queue), settled)  # what we read as JSON is UTF-8
        self.at("acknowledged")

    def _buried(self, queue: str, sizes: Sequence[int]) -> None:
        """Count messages that Redis has already moved to the dead letters. They were not read, so their digest is that of no bytes."""
        if sizes:
            record = {"outcome": "refused", "reason": "too_large", "field": None, "digest": digest(b""), "message_id": None}
            intake.record(self.db, queue, [record] * len(sizes), patience=self.patience)
        for size in sizes:
            self._count("refused")
            log.warning(
                "A message of %s bytes in %s is too large, and was not read. `ourvidz intake dead ls` lists it.", f"{size:,}", queue
            )

    def _refuse(self, queue: str, raw: bytes, refusal: RefusedMessage, *, counted: bool) -> None:
        """Count a refusal in Postgres, then move the message to the dead letters: it may be counted twice, but never missed."""
        if not counted:
            record = {"outcome": "refused", "reason": refusal.reason, "field": refusal.field or None, "digest": digest(raw)}
            intake.record(self.db, queue, [record | {"message_id": refusal.message_id}], patience=self.patience)
        self.at("refusal counted")
        dead_letters.bury(self.redis, queue, raw, refusal)
        self._count("refused")
        log.warning("A message in %s was refused (%s): %s `ourvidz intake dead ls` lists it.", queue, refusal.reason, refusal.detail)
        self.at("buried")

    def _count(self, outcome: str) -> None:
        self.totals[outcome] = self.totals.get(outcome, 0) + 1


def drain(
    drainer: Drainer,
    leaving: Callable[[], bool],
    *,
    pulse: Callable[[], None] = lambda: None,
    wait: Callable[[float], None] = time.sleep,
    troubles: Troubles = Troubles(None),
) -> None:
    """Run passes until `leaving()`: without a pause while messages come, with growing pauses when none do (up to `IDLE_WAIT` s), and with
    backoff while Redis or Postgres is away or Upstash's quota is used up, which is reported to `troubles`. Only this process waits for
    Redis. Raises `RedisRefused`."""
    delay, away, quiet = FIRST_WAIT, 0, 0.0
    forgotten = time.monotonic()
    troubles.over(PART)
    while not leaving():
        pulse()
        try:
            handled = drainer.once()
            if away:
                log.info("Redis and Postgres are there again.")
                troubles.over(PART)
            away, quiet = 0, 0.0 if handled else quiet + delay
            longest = IDLE_WAIT if quiet > IDLE_AFTER else CALM_WAIT
            delay = 0.0 if handled else min(max(delay * 2, FIRST_WAIT), longest)
            least = 0.0
            if time.monotonic() - forgotten > 3600:
                intake.forget(drainer.db)
                forgotten = time.monotonic()
        except (RedisAway, DatabaseAway, Ambiguous) as error:
            if not isinstance(error, RedisAway):
                drainer.db.bring_back()
            away += 1
            least = error.after if isinstance(error, RedisAway) else 0.0
            longest = QUOTA_WAIT if isinstance(error, QuotaSpent) else AWAY_WAIT
            delay = max(least, min(longest, 0.2 * 2 ** min(away, 16)))
            said = str(error).rstrip(".")
            log.log(logging.WARNING if away in (1, 5) or away % 20 == 0 else logging.DEBUG, "%s. Trying again in %.0f s.", said, delay)
            troubles.say(PART, said, delay)
        if delay:
            wait(max(least, delay * random.uniform(0.7, 1.0)))
