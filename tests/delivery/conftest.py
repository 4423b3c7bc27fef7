from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support import claim, executor, finish, submit
from webhook_receiver import SECRETS, Receiver, receiving

from ourvidz.db import outbox
from ourvidz.db.connection import Database
from ourvidz.delivery.deliverer import Deliverer
from ourvidz.delivery.sending import Keyring
from ourvidz.lifecycle import Jobs


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def ring() -> Keyring:
    return Keyring(SECRETS)


@pytest.fixture
def tell(database: Database, receiver: Receiver) -> Callable[..., None]:
    """Create a receiver for that path."""

    def make(path: str = "/ok", name: str = "one", **more: object) -> None:
        outbox.receiver_set(database, name, receiver.url(path), **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
def deliver(database: Database, ring: Keyring) -> Callable[[], Deliverer]:
    """Send everything due, and stop."""

    def run() -> Deliverer:
        deliverer = Deliverer(database, ring)
        deliverer.run(once=True)
        return deliverer

    return run


@pytest.fixture
def done(jobs: Jobs, user: Callable[..., str]) -> Callable[[], str]:
    """Create a completed job."""

    def make() -> str:
        job_id = submit(jobs, user("premium"))
        finish(jobs, claim(jobs, executor(jobs)))
        return job_id

    return make
