from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from a_receiver import SECRETS, Receiver, receiving
from support import claim, executor, finish, submit

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
    """Makes a receiver of that path."""

    def make(path: str = "/ok", name: str = "one", **more: object) -> None:
        outbox.receiver_set(database, name, receiver.url(path), **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
def deliver(database: Database, ring: Keyring) -> Callable[[], Deliverer]:
    """Sends what is due, and leaves."""

    def run() -> Deliverer:
        deliverer = Deliverer(database, ring)
        deliverer.run(once=True)
        return deliverer

    return run


@pytest.fixture
def done(jobs: Jobs, user: Callable[..., str]) -> Callable[[], str]:
    """Makes a completed job."""

    def make() -> str:
        job_id = submit(jobs, user("premium"))
        finish(jobs, claim(jobs, executor(jobs)))
        return job_id

    return make
