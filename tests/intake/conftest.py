"""A drainer between a real Valkey behind the Upstash REST server, and a real Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace
from ourvidz.intake.drain import Drainer
from ourvidz.intake.message import LEGACY_QUEUE, QUEUES
from ourvidz.intake.upstash import Upstash


@pytest.fixture
def new_drainer(database: Database, upstash: UpstashFace) -> Iterator[Callable[..., Drainer]]:
    with ExitStack() as opened:

        def make(**more: object) -> Drainer:
            redis = Upstash(upstash.url, upstash.token, timeout=httpx.Timeout(5.0))
            opened.callback(redis.close)
            return Drainer(database, redis, (*QUEUES, LEGACY_QUEUE), patience=5, **more)  # type: ignore[arg-type]

        yield make


@pytest.fixture
def drainer(new_drainer: Callable[..., Drainer]) -> Drainer:
    return new_drainer()
