"""Attempts, delays, leases and disabled receivers, by the database's clock, which only moves when a test moves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from support import Clock, Server
from webhook_receiver import Receiver

from ourvidz.db import outbox
from ourvidz.db.connection import Database
from ourvidz.delivery.deliverer import LEASE, Deliverer
from ourvidz.delivery.receivers import follow_environment
from ourvidz.delivery.sending import Keyring
from state.errors import InvalidJob, NotFound

DELAYS = [5, 30, 120, 600, 1800, 3600, 10800, 21600, 43200]
Deliver = Callable[[], Deliverer]
Done = Callable[[], str]
Tell = Callable[..., None]


def message(db: Database) -> dict[str, Any]:
    (row,) = outbox.messages(db)
    return row


def one(db: Database, name: str = "one") -> dict[str, Any]:
    return next(r for r in outbox.receivers(db) if r["name"] == name)


def die(db: Database, clock: Clock, deliver: Deliver) -> None:
    """Deliver and advance the clock until nothing is waiting."""
    while outbox.messages(db, state="waiting"):
        deliver()
        clock.advance(60_000)


def test_ten_attempts_spread_over_about_a_day(
    database: Database, receiver: Receiver, clock: Clock, tell: Tell, done: Done, deliver: Deliver
) -> None:
    tell("/500")
    done()
    begun = clock.at
    for n, delay in enumerate(DELAYS, 1):
        deliver()
        assert len(receiver.got) == n
        waits = (message(database)["next_at"] - clock.at).total_seconds()
        assert delay * 0.85 <= waits <= delay * 1.15
        clock.advance(waits - 0.001)
        deliver()
        assert len(receiver.got) == n, "it came too early"
        clock.advance(0.001)
    deliver()
    dead = message(database)
    assert (dead["state"], dead["attempts"], dead["last_status"], dead["last_error"]) == ("dead", 10, 500, "it answered 500")
    assert 0.75 < (clock.at - begun).total_seconds() / 86_400 < 1.2
    clock.advance(1e6)
    deliver()
    assert len(receiver.got) == 10
    assert len({got.id for got in receiver.got}) == 1
    assert one(database)["enabled"] and one(database)["dead"] == 0  # counts only messages that died within a week


def test_retry_delays_have_jitter(database: Database, clock: Clock, tell: Tell, done: Done, deliver: Deliver) -> None:
    """Jitter: a receiver that comes back does not get all messages at once."""
    tell("/500")
    for _ in range(5):
        done()
    deliver()
    assert len({row["next_at"] for row in outbox.messages(database)}) == 5


@pytest.mark.parametrize(("path", "seconds"), [("/later", 900), ("/forever", 3600)])
def test_retry_after_is_honoured_up_to_an_hour(
    database: Database, clock: Clock, tell: Tell, done: Done, deliver: Deliver, path: str, seconds: float
) -> None:
    tell(path)
    done()
    deliver()
    assert (message(database)["next_at"] - clock.at).total_seconds() == seconds


def test_a_410_disables_the_receiver(
    database: Database, receiver: Receiver, clock: Clock, tell: Tell, done: Done, deliver: Deliver
) -> None:
    tell("/410")
    done()
    deliver()
    assert message(database)["state"] == "dead"
    assert (one(database)["enabled"], one(database)["disabled_reason"], one(database)["disabled_at"]) == (
        False, "it answered 410 Gone", clock.at,
    )  # fmt: skip
    done()
    deliver()
    assert len(receiver.got) == 1
    assert len(outbox.messages(database)) == 1


def test_five_exhausted_messages_in_a_row_disable_the_receiver(
    database: Database, receiver: Receiver, clock: Clock, tell: Tell, done: Done, deliver: Deliver
) -> None:
    tell("/flaky")
    receiver.failures = 10**6
    for _ in range(4):
        done()
    die(database, clock, deliver)
    assert one(database)["exhausted"] == 4
    receiver.failures = 0
    done()
    deliver()
    assert one(database)["exhausted"] == 0, "one that went through starts the count anew"
    receiver.failures = 10**6
    for _ in range(5):
        done()
    die(database, clock, deliver)
    assert not one(database)["enabled"]
    assert one(database)["disabled_reason"] == "5 messages in a row could not be delivered"


def test_messages_of_a_disabled_receiver_are_sent_once_enabled(
    database: Database, receiver: Receiver, tell: Tell, done: Done, deliver: Deliver
) -> None:
    tell()
    job_id = done()
    outbox.receiver_enable(database, "one", on=False, reason="by hand")
    deliver()
    assert receiver.got == []
    assert outbox.take(database, "one", LEASE) is None
    outbox.receiver_enable(database, "one", on=True)
    assert (one(database)["disabled_at"], one(database)["disabled_reason"]) == (None, None)
    deliver()
    assert [got.body["job_id"] for got in receiver.got] == [job_id]


def test_a_message_is_leased_to_one_deliverer(database: Database, clock: Clock, tell: Tell, done: Done) -> None:
    tell()
    done()
    first = outbox.take(database, "one", LEASE)
    assert first is not None
    assert outbox.take(database, "one", LEASE) is None
    assert outbox.due(database) == []
    clock.advance(LEASE)
    second = outbox.take(database, "one", LEASE)
    assert second is not None and second.id == first.id
    assert outbox.unsent(database, second, 500, "it answered 500") == "retry"
    # The first deliverer wakes up: its failure comes too late to count as an attempt.
    assert outbox.unsent(database, first, None, "no connection") == "overtaken"
    assert (message(database)["attempts"], message(database)["last_error"]) == (1, "it answered 500")
    # A late success still counts: the message was delivered.
    outbox.sent(database, first, 200)
    assert message(database)["state"] == "delivered"
    assert outbox.unsent(database, second, 500, "it answered 500") == "overtaken"


def test_a_sent_message_is_resent_only_on_request(database: Database, receiver: Receiver, tell: Tell, done: Done, deliver: Deliver) -> None:
    tell()
    done()
    deliver()
    deliver()
    assert len(receiver.got) == 1
    assert outbox.redeliver(database, [str(message(database)["id"])]) == 1
    deliver()
    assert len(receiver.got) == 2
    assert len({got.id for got in receiver.got}) == 1


def test_a_revived_message_gets_all_attempts_again(
    database: Database, receiver: Receiver, clock: Clock, tell: Tell, done: Done, deliver: Deliver
) -> None:
    tell("/500")
    done()
    die(database, clock, deliver)
    outbox.redeliver(database, [str(message(database)["id"])])
    assert (message(database)["state"], message(database)["attempts"]) == ("waiting", 0)
    die(database, clock, deliver)
    assert len(receiver.got) == 20


def test_old_messages_are_pruned(database: Database, clock: Clock, tell: Tell, done: Done, deliver: Deliver) -> None:
    tell()
    tell("/410", "gone")
    tell("/ok", "shut")
    done()
    outbox.receiver_enable(database, "shut", on=False)
    deliver()
    clock.advance(29 * 86_400)
    assert outbox.prune(database) == 0
    clock.advance(2 * 86_400)
    assert outbox.prune(database) == 1
    clock.advance(60 * 86_400)
    assert outbox.prune(database) == 1
    assert message(database)["state"] == "waiting"


GOOD = [
    "https://example.com/x?a=b",
    "https://example.com:8443",
    "http://127.0.0.1:54321/functions/v1/job-callback",
    "http://[::1]/",
    "http://localhost",
]
BAD = ["http://example.com/", "ftp://example.com", "https://me:secret@example.com/", "http://127.0.0.1@example.com/", "http://localhost.example.com/",
       "http://127.0.0.1.example.com/", "https://exa mple.com", "https://", "//example.com", "https:\\\\example.com", "http://10.0.0.1/",
       "https://example.com/" + "x" * 2000, "https://example.com/\r\nx: y"]  # fmt: skip


@pytest.mark.parametrize("url", GOOD)
def test_valid_receiver_urls_are_accepted(database: Database, url: str) -> None:
    outbox.receiver_set(database, "one", url)
    assert one(database)["url"] == url


@pytest.mark.parametrize("url", BAD)
def test_invalid_receiver_urls_are_refused(database: Database, url: str) -> None:
    with pytest.raises(InvalidJob, match="https://") as refused:
        outbox.receiver_set(database, "one", url)
    assert refused.value.field == "url"
    assert "secret@" not in str(refused.value)


def test_receivers_are_updated_partially_and_invalid_ones_refused(database: Database) -> None:
    outbox.receiver_set(database, "one", "https://example.com", ["failed"], "ONE_SECRET")
    outbox.receiver_set(database, "one", "https://example.org")
    found = one(database)
    assert (found["url"], found["events"], found["secret_env"]) == ("https://example.org", ["failed"], "ONE_SECRET")
    for field, given in {"events": {"events": ["began"]}, "secret": {"secret_env": "whsec_x"}}.items():
        with pytest.raises(InvalidJob) as refused:
            outbox.receiver_set(database, "one", **given)  # type: ignore[arg-type]
        assert refused.value.field == field
    with pytest.raises(InvalidJob):
        outbox.receiver_set(database, "One!", "https://example.org")
    with pytest.raises(NotFound):
        outbox.receiver_set(database, "two")
    with pytest.raises(NotFound):
        outbox.receiver_enable(database, "two", on=True)


def test_a_deliverers_role_delivers_and_changes_no_receiver(
    database: Database, receiver: Receiver, ring: Keyring, server: Server, database_name: str, tell: Tell, done: Done
) -> None:
    tell()
    done()
    url = server.url(database_name, superuser=True)
    own = Database(f"{url}{'&' if '?' in url else '?'}options=-c%20role%3Dourvidz_deliverer")
    try:
        assert own.rows("select current_user::text as me") == [{"me": "ourvidz_deliverer"}]
        Deliverer(own, ring).run(once=True)
        assert len(receiver.got) == 1
        assert not outbox.may_set_receivers(own) and outbox.may_set_receivers(database)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            outbox.receiver_set(own, "one", "https://example.com")
        assert "may not change receivers" in follow_environment(own, "https://a.supabase.co", signs=True)
    finally:
        own.close()
