"""A shadow run: the older system's waiting jobs and messages, planned here and made nowhere (docs/decisions/0035)."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ourvidz.db import legacy
from ourvidz.db.connection import Database
from ourvidz.db.legacy import Plan
from ourvidz.intake.message import LEGACY_QUEUE, QUEUES, RefusedMessage
from ourvidz.intake.message import read as read_message
from ourvidz.intake.sharing import waiting
from ourvidz.intake.upstash import Upstash
from ourvidz.safety import texts
from ourvidz.safety.lexical import LexicalScreen
from state.canonical import Unreadable


@dataclass
class Group:
    waiting: int = 0
    made: int = 0
    price: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Shadow:
    """`joined`: messages whose job is in the database, of which the row alone is planned."""

    plans: Sequence[Plan]
    joined: int
    users: int

    def groups(self) -> Mapping[tuple[str, str], Group]:
        found: dict[tuple[str, str], Group] = {}
        for plan in sorted(self.plans, key=lambda p: (p.source, p.job_type)):
            group = found.setdefault((plan.source, plan.job_type or "(none)"), Group())
            group.waiting += 1
            group.made += not plan.refused
            group.refused += bool(plan.refused)
            group.price += plan.price
        return found

    def set_aside(self) -> Mapping[str, int]:
        return dict(Counter(name for plan in self.plans for name in plan.set_aside).most_common())

    def refusals(self) -> Mapping[tuple[str, str], tuple[int, str]]:
        found: dict[tuple[str, str], tuple[int, str]] = {}
        for plan in self.plans:
            if plan.refused:
                count, why = found.get((plan.refused, plan.field), (0, plan.why))
                found[plan.refused, plan.field] = (count + 1, why)
        return found

    def as_dict(self) -> dict[str, Any]:
        return {"joined": self.joined, "users": self.users, "plans": [asdict(plan) for plan in self.plans]}


def look(service: Database, redis: Upstash | None, since: float, *, say: Callable[[str], None]) -> Shadow:
    """Reads `service` and `redis` once. Raises `NotOlder`, `DatabaseAway`, `RedisAway`."""
    read, broken = _messages(redis) if redis else ([], [])
    then = legacy.read(service, f"{since} seconds", read)
    rows = {str(job["id"]) for job in then.jobs}
    fresh = [message for message in read if str(message.get("id")) not in rows | then.ended]
    users = {str(request["user_id"]) for request in (*then.jobs, *fresh) if request.get("user_id")}
    say("Planning in a database of our own …")
    with tempfile.TemporaryDirectory(prefix="ourvidz-shadow-") as home, _scratch(Path(home)) as scratch:
        legacy.furnish(scratch, then, sorted(users))
        screen = LexicalScreen()
        plans = [_plan(scratch, screen, source, asked) for source, some in (("row", then.jobs), ("redis", fresh)) for asked in some]
    joined = sum(str(message.get("id")) in rows for message in read)
    return Shadow([*plans, *broken], joined, len(users))


def _messages(redis: Upstash) -> tuple[list[dict[str, Any]], list[Plan]]:
    """Those that can be read, and those that could not even be asked about."""
    read: list[dict[str, Any]] = []
    broken: list[Plan] = []
    for queue in (*QUEUES, LEGACY_QUEUE):
        for raw in waiting(redis, queue):
            try:
                read.append(read_message(raw).asked["message"])
            except RefusedMessage as refused:
                broken.append(
                    Plan("redis", refused.message_id or "", "", "", refused=refused.reason, field=refused.field, why=refused.detail)
                )
    return read, broken


def _plan(scratch: Database, screen: LexicalScreen, source: str, request: Mapping[str, Any]) -> Plan:
    found = legacy.plan(scratch, source, request)
    if found.refused:
        return found
    metadata = request.get("metadata") or {}
    prompt = str(request.get("prompt") or metadata.get("prompt") or "")
    field = "prompt"
    try:
        for field, written in [("prompt", prompt), ("negative", str(request.get("negative_prompt") or "")), *texts.others(metadata)]:
            if not texts.check(screen, texts.read(field, written)).allowed:
                return replace(found, price=0, refused="refused_content", field=field, why="The prompt screen refuses the text.")
    except Unreadable as error:
        return replace(found, price=0, refused="text_unreadable", field=field, why=f"The text cannot be read: {error}.")
    return found


class _scratch:
    """A migrated Postgres of our own that is gone afterwards."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __enter__(self) -> Database:
        from ourvidz.db.embedded import EmbeddedPostgres
        from ourvidz.db.migrate import migrate

        self._server = EmbeddedPostgres(self._home)
        self._database = Database(self._server.start())
        with self._database.transaction() as connection:
            migrate(connection)
        return self._database

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._server.stop_using()
