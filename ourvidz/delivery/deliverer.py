"""Deliver the outbox's messages. Several deliverers may run at once, on any machines: a message is leased to one, and after the lease
expires to the next.

Each receiver has senders of its own, so that one that hangs delays no other. Database calls run in threads; messages are sent by
coroutines, which can be cancelled at any point.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from ourvidz.db import outbox
from ourvidz.db.connection import Ambiguous, DatabaseAway, DatabaseRefused
from ourvidz.db.outages import backoff
from ourvidz.delivery.sending import Keyring, send
from ourvidz.delivery.signature import BadSecret
from ourvidz.outbound import clients

if TYPE_CHECKING:
    import httpx

    from ourvidz.db.connection import Database
    from ourvidz.db.outbox import Due, Message

log = logging.getLogger("ourvidz.deliver")

T = TypeVar("T")
SENDERS = 4  # for each receiver
LEASE = 60.0  # seconds; four times what a message may take
POLL, LONGEST_POLL = 0.25, 2.0  # seconds: while messages come, and when none have come for a while
DATABASE_THREADS = 4
NAME_THREADS = 64  # DNS lookups cannot be cancelled, and many may hang
PRUNE_EVERY = 3600.0
LEAVE = 5.0  # seconds to finish sending at the end; the rest is sent again by the next deliverer


class Deliverer:
    def __init__(
        self, db: Database, ring: Keyring, *, senders: int = SENDERS, lease: float = LEASE, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._db, self._ring, self._senders, self._lease, self._beat = db, ring, senders, lease, beat
        self._threads = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="outbox")
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}
        self._untold: set[str] = set()
        self._stopping = self._once = False
        self._pruned = time.monotonic()
        self.sent = self.failed = 0
        self._unsaid = 0  # messages whose outcome is not yet recorded in the database

    def stop(self) -> None:
        """Stop; callable from a signal handler. Messages being sent have `LEAVE` seconds to finish."""
        self._stopping = True

    def run(self, *, once: bool = False) -> None:
        """Deliver until stopped; with `once`, until nothing is due. Messages whose next try comes later are left to a later run."""
        self._once = once
        asyncio.run(self._run(once))

    async def _run(self, once: bool) -> None:
        import httpx

        names = ThreadPoolExecutor(NAME_THREADS, thread_name_prefix="names")
        asyncio.get_running_loop().set_default_executor(names)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        try:
            async with clients.async_client(limits, follow_redirects=False, timeout=httpx.Timeout(10.0)) as client:
                await self._rounds(client, once)
                await self._leave()
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            names.shutdown(wait=False, cancel_futures=True)

    async def _rounds(self, client: httpx.AsyncClient, once: bool) -> None:
        wait = POLL
        while not self._stopping:
            self._beat()
            try:
                # After an outage the lease of a message sent in it may have expired: record that before taking any again.
                found = [] if self._unsaid else await self._ask(outbox.due, self._db)
                due = [d for d in found if self._can_sign(d)]
                for each in due:
                    self._send_some(client, each)
                await self._prune()
            except (DatabaseAway, Ambiguous):  # logged by ourvidz.db.connection.Outage
                if once:
                    raise
                await self._ask(self._db.bring_back)
                due = []
            busy = [task for tasks in self._tasks.values() for task in tasks]
            if once and not busy:
                return
            wait = POLL if due or busy else min(wait * 1.5, LONGEST_POLL)
            await (asyncio.wait(busy, timeout=wait, return_when=asyncio.FIRST_COMPLETED) if busy else asyncio.sleep(wait))

    def _can_sign(self, due: Due) -> bool:
        """Return True if the receiver's secret is here. Else its messages are left to a deliverer that has it; none is sent unsigned."""
        try:
            able = bool(self._ring.keys(due.secret_env))
            reason = f"{due.secret_env}, which signs them, is not set here"
        except BadSecret as error:
            able, reason = False, str(error)
        if able:
            self._untold.discard(due.receiver)
        elif due.receiver not in self._untold:
            self._untold.add(due.receiver)
            log.warning("Messages for %s wait: %s.", due.receiver, reason)
        return able

    def _send_some(self, client: httpx.AsyncClient, due: Due) -> None:
        tasks = self._tasks.setdefault(due.receiver, set())
        for _ in range(min(due.messages, self._senders - len(tasks))):
            task = asyncio.create_task(self._sender(client, due.receiver))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            task.add_done_callback(_tell_trouble)

    async def _sender(self, client: httpx.AsyncClient, receiver: str) -> None:
        """Send this receiver's messages until none is due."""
        try:
            while not self._stopping and (message := await self._take(receiver)) is not None:
                outcome = await send(client, message, self._ring)
                self._beat()
                if outcome.error is None:
                    await self._insist(outbox.sent, self._db, message, outcome.status or 0)
                    self.sent += 1
                    continue
                became = await self._insist(outbox.unsent, self._db, message, outcome.status, outcome.error, outcome.wait_s)
                self.failed += 1
                log.warning("%s, about job %s: %s. %s", receiver, message.body["job_id"], outcome.error, _NEXT[became])
        except (DatabaseAway, Ambiguous):
            # Recorded or not: the lease expires, and a message in doubt is sent again.
            log.debug("The database is away, and what was taken for %s is sent when its lease has run out.", receiver)

    async def _take(self, receiver: str) -> Message | None:
        return None if self._unsaid else await self._ask(outbox.take, self._db, receiver, self._lease)

    async def _insist(self, function: Callable[..., T], *args: Any) -> T:
        """Record a message's outcome, retrying until the database has it: else it would be sent again after an outage. Recording it twice
        is harmless. A run that is to end (`once`) does not retry."""
        try:
            return await self._ask(function, *args)
        except DatabaseRefused:
            raise
        except (DatabaseAway, Ambiguous):
            if self._stopping or self._once:
                raise
        self._unsaid += 1
        try:
            for delay in backoff():
                await asyncio.sleep(delay)
                try:
                    return await self._ask(function, *args)
                except DatabaseRefused:
                    raise
                except (DatabaseAway, Ambiguous):
                    if self._stopping:
                        raise
            raise AssertionError("backoff has no end")
        finally:
            self._unsaid -= 1

    async def _prune(self) -> None:
        if time.monotonic() - self._pruned > PRUNE_EVERY:
            self._pruned = time.monotonic()
            await self._ask(outbox.prune, self._db)

    async def _leave(self) -> None:
        busy = [task for tasks in self._tasks.values() for task in tasks]
        if busy:
            _, late = await asyncio.wait(busy, timeout=LEAVE)
            for task in late:
                task.cancel()

    async def _ask(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


_NEXT = {"retry": "It is tried again later.", "dead": "It was the last try: `ourvidz deliver ls --dead` shows it.",
         "overtaken": "Another deliverer had it meanwhile."}  # fmt: skip


def _tell_trouble(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("A sender stopped, and another takes its place: %s: %s", type(error).__name__, error)
