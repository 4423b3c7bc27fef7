"""The supervisor's database access, in a thread of its own: an unreachable database must not block collecting dead processes.

It reads the executors' rows every second, and declares dead executors gone, so that other executors get their jobs at once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from executors.orchestrator.policy import Held, Sight
from ourvidz.db import fleet, queries
from ourvidz.db.connection import Ambiguous, DatabaseAway
from ourvidz.lifecycle import Jobs
from state.errors import Forbidden
from state.policy import Policy

log = logging.getLogger("ourvidz.up")

EVERY = 1.0
Life = tuple[str, int]
"""An executor's name and its process id."""


Order = tuple[Life, str, Mapping[str, float]]


@dataclass(frozen=True)
class Look:
    """One answer of the database, and its time `at` by our monotonic clock."""

    at: float
    sights: Mapping[Life, Sight] = field(default_factory=dict)
    ready: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Burial:
    """A dead process, declared gone: the jobs it `held` at its death, and which of their lanes were `served` since their last crash."""

    life: Life
    held: tuple[Held, ...]
    served: frozenset[str]
    at: float  # by the database's clock, in seconds since the epoch

    @property
    def name(self) -> str:
        return self.life[0]

    @property
    def pid(self) -> int:
        return self.life[1]


class Registry:
    def __init__(self, jobs: Jobs, host: str, names: Collection[str], policy: Policy) -> None:
        self._jobs, self._host, self._names, self._policy = jobs, host, list(names), policy
        self.look: Look | None = None
        self.burials: queue.SimpleQueue[Burial] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._waiting: list[Order] = []
        self._alive: dict[str, int] = {}
        self._last_held: dict[Life, tuple[Held, ...]] = {}
        self.outage: float | None = None  # when the database last failed to answer, by our monotonic clock
        self._thread = threading.Thread(target=self._run, name="registry", daemon=True)
        self._thread.start()

    def lives(self, name: str, pid: int | None) -> None:
        """Set the process that has this name now. Any other silent process of that name was left behind by an earlier supervisor."""
        if pid is None:
            self._alive.pop(name, None)
        else:
            self._alive[name] = pid

    def bury(self, life: Life, cause: str, since: Mapping[str, float]) -> None:
        """Declare the process's executor gone; a `Burial` follows once the database has answered. Its `served` has the held lanes that
        completed a job after their instant in `since` (by the database's clock, as `Burial.at`)."""
        self._orders.put((life, cause, since))

    def close(self) -> None:
        """Stop; waits up to 15 s for pending orders."""
        self._orders.put(None)
        self._thread.join(timeout=15)

    def _run(self) -> None:
        closing = False
        while not (closing and not self._waiting):
            try:
                order = self._orders.get(timeout=0 if self._waiting else EVERY)
                closing = closing or order is None
                self._waiting += [order] if order is not None else []
                continue  # empty the queue before asking the database
            except queue.Empty:
                pass
            try:
                while self._waiting:
                    self.burials.put(self._bury(*self._waiting[0]))
                    del self._waiting[0]
                self._take_a_look()
            except Exception as error:  # noqa: BLE001  (whatever it was, the executors work on, and the next round comes)
                self.outage = time.monotonic()
                if isinstance(error, DatabaseAway | Ambiguous):  # already logged by ourvidz.db.connection.Outage
                    self._jobs.db.bring_back()
                else:
                    log.warning("The database did not tell how the executors are: %s", error)
                if closing:
                    return  # their leases will expire
                time.sleep(EVERY)

    def _take_a_look(self) -> None:
        self._jobs.db.look_for_writes()  # in a read-only database nobody can renew a lease, so an expired one proves nothing
        sights: dict[Life, Sight] = {}
        for r in fleet.lives(self._jobs.db, self._host, self._names):
            life, held = (r["name"], r["pid"]), tuple(Held(*job) for job in r["held"])
            if r["state"] != "gone":
                self._last_held[life] = held
            if life not in sights or r["state"] != "gone":
                sights[life] = Sight(str(r["id"]), r["state"], r["lease_left"], held, int(r["info"].get("finished") or 0))
            left_behind = r["state"] != "gone" and r["name"] in self._alive and self._alive[r["name"]] != r["pid"]
            if left_behind and r["silent"] > 2 * self._policy.heartbeat:
                log.info("Executor %s of process %s was left behind by an earlier start: its jobs go to others.", *life)
                self._declare_gone(str(r["id"]), "left behind")
        self.look = Look(time.monotonic(), sights, fleet.ready_by_lane(self._jobs.db))

    def _declare_gone(self, executor_id: str, cause: str) -> None:
        try:
            self._jobs.executor_gone(executor_id, cause)
        except Forbidden as error:  # registered under this machine's former login: its lease expires by itself
            log.warning("%s Its jobs go to others when its lease has run out.", error)

    def _bury(self, life: Life, cause: str, since: Mapping[str, float]) -> Burial:
        db, (name, pid) = self._jobs.db, life
        rows = fleet.held_by(db, self._host, name, pid)
        held = tuple(Held(str(r["job_id"]), r["lane"], r["status"], r["on_device"]) for r in rows if r["job_id"] is not None)
        last = self._last_held.pop(life, ())
        if not rows:  # its lease expired before: other executors have its jobs by now
            held = last
        for executor_id in sorted({str(r["executor_id"]) for r in rows}):
            self._declare_gone(executor_id, cause)
        doubtful = {h.lane for h in held} & set(since)
        served = {lane for lane in doubtful if fleet.lane_served(db, name, lane, datetime.fromtimestamp(since[lane], UTC))}
        return Burial(life, held, frozenset(served), queries.now(db).timestamp())
