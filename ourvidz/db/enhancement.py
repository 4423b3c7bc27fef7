"""Requests of the prompt dialog, as the enhancer takes and answers them: each a function of schema `ourvidz`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ourvidz.db.connection import Database

CHANNEL = "enhancement"
"""Payload of the NOTIFY that wakes an enhancer (`ourvidz.db.connection.Listener`)."""


@dataclass(frozen=True)
class Request:
    """One prompt to enhance. `claim_no` fences the answer; after `seconds_left` nobody waits for it any more."""

    id: str
    claim_no: int
    style: str
    prompt: str
    seconds_left: float


def take(db: Database, name: str) -> Request | None:
    """Claim the oldest request that somebody waits for, and record that the enhancer `name` is alive."""
    rows = db.rows("select id::text, claim_no, style, prompt, seconds_left from ourvidz.enhancement_claim(%s)", (name,))
    return Request(**rows[0]) if rows else None


def hold(db: Database, name: str, asked: Request) -> bool:
    """Renew the lease. False if another enhancer has the request by now, or it is gone: any result is useless."""
    return bool(db.rows("select ourvidz.enhancement_heartbeat(%s, %s, %s) as held", (name, asked.id, asked.claim_no))[0]["held"])


def answer(db: Database, asked: Request, text: str, figures: Mapping[str, Any]) -> bool:
    return _say(db, asked, {"text": text, "figures": dict(figures)})


def fail(db: Database, asked: Request, reason: str) -> bool:
    """Answer that no enhancer will enhance this prompt. `reason` is one word."""
    return _say(db, asked, {"failed": reason})


def give_back(db: Database, asked: Request) -> bool:
    """Release the request for another enhancer: the failure was not the prompt's fault."""
    return _say(db, asked, {})


def _say(db: Database, asked: Request, said: Mapping[str, Any]) -> bool:
    sql = "select ourvidz.enhancement_finish(%s, %s, %s::jsonb) as taken"
    return bool(db.rows(sql, (asked.id, asked.claim_no, json.dumps(said)))[0]["taken"])
