"""The deliverer over real HTTP: requests as receivers get them, hostile receivers, and crashes."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import crash_deliverer
import forked
import pytest
from sizes import size
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from support import Server, Switch
from waiting import LIMIT, wait_for
from webhook_receiver import SECRET, Receiver

from ourvidz.db import outbox
from ourvidz.db.connection import Database, DatabaseAway
from ourvidz.delivery import sending
from ourvidz.delivery.deliverer import Deliverer
from ourvidz.delivery.receivers import follow_environment
from ourvidz.delivery.sending import Keyring
from ourvidz.delivery.signature import BadSecret, keys
from state.errors import InvalidJob

Deliver = Callable[[], Deliverer]
Done = Callable[[], str]
Tell = Callable[..., None]
OTHER = "whsec_" + "YW5vdGhlciBzZWNyZXQgb2Ygb3VycywgdGhlIG5ldyBvbmU="
WORD = "thirty-two-characters-of-a-word!"


# -- requests -------------------------------------------------------------------------------------------------------------------


def test_messages_are_signed_per_standard_webhooks(receiver: Receiver, tell: Tell, done: Done, deliver: Deliver) -> None:
    tell()
    job_id = done()
    deliver()
    (got,) = receiver.got
    assert Webhook(SECRET).verify(got.raw, got.headers) == got.body
    assert got.body["job_id"] == job_id and got.body["status"] == "completed" and len(got.body["assets"]) == 1
    assert got.id.startswith("msg_") and got.headers["content-type"] == "application/json"
    assert "authorization" not in got.headers
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(got.raw, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got.raw.replace(b"completed", b"cancelled"), got.headers)


def test_during_secret_rotation_both_keys_sign(database: Database, receiver: Receiver, tell: Tell, done: Done) -> None:
    tell(secret_env="HOOK")
    done()
    Deliverer(database, Keyring({"HOOK": f"{SECRET} {OTHER} {WORD}"})).run(once=True)
    (got,) = receiver.got
    for secret in (SECRET, OTHER, WORD.encode()):
        Webhook(secret).verify(got.raw, got.headers)


@pytest.mark.parametrize("held", ["", "  ", "whsec_", "whsec_no base64!", "whsec_aGVsbG8=", "23 bytes can be guessed"])
def test_without_a_secret_messages_wait(
    database: Database, receiver: Receiver, tell: Tell, done: Done, deliver: Deliver, held: str, caplog: pytest.LogCaptureFixture
) -> None:
    tell(secret_env="HOOK")
    tell("/other", "two")
    done()
    Deliverer(database, Keyring({"HOOK": held, "TWO_SECRET": SECRET})).run(once=True)
    assert [got.path for got in receiver.got] == ["/other"]
    (waiting,) = outbox.messages(database, state="waiting")
    assert waiting["attempts"] == 0
    assert "HOOK" in caplog.text and "base64!" not in caplog.text
    Deliverer(database, Keyring({"HOOK": OTHER})).run(once=True)
    Webhook(OTHER).verify(receiver.got[-1].raw, receiver.got[-1].headers)


def test_signing_secrets_are_parsed_or_refused() -> None:
    """Parsed as in the edge functions (supabase/functions/_shared/signing_test.ts)."""
    for case in json.loads((Path(__file__).parent.parent / "data/signing_secrets.json").read_text()):
        if "keys" in case:
            assert [key.hex() for key in keys(case["held"])] == case["keys"], case
            continue
        with pytest.raises(BadSecret, match=case["refused"]) as refused:
            keys(case["held"])
        assert case["held"][6:30] not in str(refused.value) or len(case["held"]) < 8


def test_the_service_key_is_sent_only_to_its_own_project(database: Database, receiver: Receiver, tell: Tell, done: Done) -> None:
    project = receiver.url("")
    ring = Keyring({"CALLBACK_SECRET": SECRET, "ALIEN_SECRET": WORD}, project + "/", "service-key")
    assert (
        follow_environment(database, project + "/", signs=True) == f"job-callback is told of jobs at {project}/functions/v1/job-callback."
    )
    assert follow_environment(database, project, signs=True) == ""
    outbox.receiver_set(database, "alien", receiver.url("/other").replace("127.0.0.1", "localhost"))
    done()
    Deliverer(database, ring).run(once=True)
    ours, alien = receiver.to("/functions/v1/job-callback"), receiver.to("/other")
    assert [(got.headers["authorization"], got.headers["apikey"]) for got in ours] == [("Bearer service-key", "service-key")]
    assert len(alien) == 1 and not {"authorization", "apikey"} & alien[0].headers.keys()


def test_a_secret_key_is_never_a_bearer_token(database: Database, receiver: Receiver, done: Done) -> None:
    project = receiver.url("")
    follow_environment(database, project, signs=True)
    done()
    Deliverer(database, Keyring({"CALLBACK_SECRET": SECRET}, project, "sb_secret_abc")).run(once=True)
    (got,) = receiver.to("/functions/v1/job-callback")
    assert got.headers["apikey"] == "sb_secret_abc" and "authorization" not in got.headers


@pytest.mark.parametrize(
    "url",
    ["http://example.com/functions", "https://example.com.evil.org/", "https://example.com:444/", "https://example.org/example.com"],
)
def test_a_lookalike_url_gets_no_key(url: str) -> None:
    ring = Keyring({}, "https://example.com", "service-key")
    assert ring.authorization(url) == {}
    assert ring.authorization("https://EXAMPLE.com:443/x") == {"apikey": "service-key", "authorization": "Bearer service-key"}


def test_the_default_receiver_follows_the_environment(database: Database) -> None:
    assert follow_environment(database, None, signs=True) == follow_environment(database, "https://a.supabase.co", signs=False) == ""
    assert outbox.receivers(database) == []
    follow_environment(database, "https://a.supabase.co", signs=True)
    outbox.receiver_set(database, "job-callback", events=["failed"])
    outbox.receiver_enable(database, "job-callback", on=False)
    follow_environment(database, "https://b.supabase.co", signs=True)
    (found,) = outbox.receivers(database)
    assert found["url"] == "https://b.supabase.co/functions/v1/job-callback"
    assert (found["events"], found["enabled"], found["secret_env"]) == (["failed"], False, "CALLBACK_SECRET")
    with pytest.raises(InvalidJob):
        follow_environment(database, "http://b.supabase.co", signs=True)


# -- misbehaving receivers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/500", 500, "it answered 500"),
        ("/redirect", 307, "it answered 307, a redirect, which is not followed: give the receiver its true URL"),
        ("/drop", None, "it hung up, or spoke no HTTP (RemoteProtocolError)"),
        ("/nonsense", None, "it hung up, or spoke no HTTP (RemoteProtocolError)"),
        ("/hang", None, "no answer within 0.4 s"),
        ("/drip", None, "no answer within 0.4 s"),
    ],
)
def test_failed_deliveries_are_retried(
    database: Database, receiver: Receiver, tell: Tell, done: Done, deliver: Deliver, monkeypatch: pytest.MonkeyPatch,
    path: str, status: int | None, said: str, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(sending, "LIMIT", 0.4)
    tell(path)
    done()
    deliver()
    (row,) = outbox.messages(database)
    assert (row["state"], row["attempts"], row["last_status"], row["last_error"]) == ("waiting", 1, status, said)
    assert receiver.to("/other") == [], "a redirect was followed"
    assert "secrets of mine" not in caplog.text


def test_a_200_with_a_broken_body_counts_as_delivered(
    database: Database, receiver: Receiver, tell: Tell, done: Done, deliver: Deliver
) -> None:
    tell("/lies")
    done()
    deliver()
    (row,) = outbox.messages(database)
    assert (row["state"], row["last_status"]) == ("delivered", 200)


def test_a_refused_connection_is_recorded(database: Database, done: Done, deliver: Deliver) -> None:
    outbox.receiver_set(database, "one", "http://127.0.0.1:1/")
    done()
    deliver()
    (row,) = outbox.messages(database)
    assert row["last_error"] == "no connection (ConnectError)"


@pytest.mark.sized
def test_a_hung_receiver_does_not_block_others(
    database: Database, receiver: Receiver, ring: Keyring, tell: Tell, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LIMIT", LIMIT)  # on a busy machine the others take longer than one message's time limit
    tell("/hang", "hangs")
    tell("/ok")
    done()
    count = size(200, 1000)  # many times what the senders of one receiver handle at once
    # The same event, many times.
    database.rows("alter table ourvidz.outbox drop constraint outbox_job_id_job_version_receiver_key")
    database.rows(
        """insert into ourvidz.outbox (receiver, job_id, job_version, status, created_at, next_at)
           select receiver, job_id, job_version, status, created_at, next_at from ourvidz.outbox, generate_series(2, %s)""",
        (count,),
    )
    deliverer = Deliverer(database, ring)
    thread = threading.Thread(target=deliverer.run)
    thread.start()
    try:
        wait_for(lambda: len(receiver.to("/ok")) >= count, "for the others: they were held up")
        assert len(receiver.to("/hang")) == 4, "as many as one receiver's senders, and no more"
        assert not outbox.messages(database, state="delivered", receiver="hangs")
    finally:
        deliverer.stop()
        receiver.opened.set()
        thread.join(LIMIT)
    assert not thread.is_alive()


# -- crashes and shutdown -------------------------------------------------------------------------------------------------------


def test_a_kill_before_recording_resends_with_the_same_id(
    database: Database, receiver: Receiver, tell: Tell, done: Done, deliver: Deliver
) -> None:
    tell()
    done()
    for _ in range(2):
        died = forked.start(crash_deliverer.send_and_die, database.url, SECRET)
        died.join(LIMIT)
        assert died.exitcode == -signal.SIGKILL
        wait_for(lambda: outbox.due(database), "the lease does not run out")
    deliver()
    assert len(receiver.got) == 3
    assert len({got.id for got in receiver.got}) == 1
    assert len({got.raw for got in receiver.got}) == 1
    for got in receiver.got:
        Webhook(SECRET).verify(got.raw, got.headers)
    (row,) = outbox.messages(database)
    assert row["state"] == "delivered"


def test_several_deliverers_send_each_message_once(database: Database, receiver: Receiver, ring: Keyring, tell: Tell, done: Done) -> None:
    tell()
    for _ in range(12):
        done()
    threads = [threading.Thread(target=Deliverer(database, ring).run, kwargs={"once": True}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert len(receiver.got) == 12 == len({got.id for got in receiver.got})


def test_a_message_in_flight_at_shutdown_is_resent_by_the_next_deliverer(
    database: Database, receiver: Receiver, ring: Keyring, tell: Tell, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ourvidz.delivery.deliverer.LEAVE", 0.1)
    tell("/hang")
    done()
    deliverer = Deliverer(database, ring, lease=0.5)
    thread = threading.Thread(target=deliverer.run)
    thread.start()
    wait_for(lambda: receiver.got, "it is not sent")
    deliverer.stop()
    thread.join(LIMIT)
    assert not thread.is_alive()
    receiver.opened.set()
    wait_for(lambda: outbox.due(database), "it is lost")
    Deliverer(database, ring).run(once=True)
    assert [got.id for got in receiver.got] == [receiver.got[0].id] * 2


# -- database outage ------------------------------------------------------------------------------------------------------------


def test_a_once_run_ends_despite_a_database_outage(
    database: Database, ring: Keyring, receiver: Receiver, tell: Tell, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseAway("The database cannot be reached")

    monkeypatch.setattr(outbox, "sent", away)
    tell()
    done()
    deliverer = Deliverer(database, ring)
    thread = threading.Thread(target=deliverer.run, kwargs={"once": True})
    thread.start()
    thread.join(LIMIT)
    ended = not thread.is_alive()
    deliverer.stop()
    thread.join(LIMIT)
    assert ended and len(receiver.got) == 1


def test_a_message_in_flight_when_the_database_turns_read_only_is_sent_once(
    receiver: Receiver, tell: Tell, done: Done, database: Database, ring: Keyring, server: Server, database_name: str
) -> None:
    """Its lease expires meanwhile; messages completed afterwards are delivered as usual."""
    tell("/hang")
    job_id = done()
    deliverer = Deliverer(database, ring, lease=0.5)
    thread = threading.Thread(target=deliverer.run)
    thread.start()
    switch = Switch(server, database_name)
    try:
        wait_for(lambda: receiver.got)
        switch.read_only(on=True)
        receiver.opened.set()  # it has the message and answers
        lapsed = "select min(next_at) < now() as lapsed from ourvidz.outbox"
        wait_for(lambda: database.patiently(lambda: database.rows(lapsed))[0]["lapsed"], "for the lease to run out")
        wait_for(lambda: deliverer._unsaid >= 1)
        switch.read_only(on=False)
        sent = "select count(*)::int as n from ourvidz.outbox where delivered_at is not null"
        wait_for(lambda: database.patiently(lambda: database.rows(sent))[0]["n"] >= 1)
        later = done()
        wait_for(lambda: database.rows(sent)[0]["n"] >= 2)
    finally:
        switch.read_only(on=False)
        deliverer.stop()
        thread.join(LIMIT)
    assert [got.body["job_id"] for got in receiver.got] == [job_id, later]
