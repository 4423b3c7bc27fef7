"""Both kinds of keys end to end: a project with disabled legacy keys that are still set in its functions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from stack_fixtures import UPSTASH_TOKEN, Project
from support import Permissive, claim, executor, finish, submit
from waiting import LIMIT

from ourvidz.db import ages, outbox
from ourvidz.delivery.deliverer import Deliverer
from ourvidz.delivery.receivers import follow_environment
from ourvidz.delivery.sending import Keyring
from ourvidz.dev.keys import Keys
from ourvidz.dev.tokens import Secret
from ourvidz.lifecycle import Jobs
from ourvidz.storage.base import StorageDenied
from ourvidz.storage.buckets import bring, compare
from ourvidz.storage.supabase import SupabaseStorage
from state.catalog import BUCKETS

BODY = {"jobType": "image_fast", "metadata": {"prompt": "a pier"}}


@pytest.fixture(scope="module")
def disabled(new_project: Callable[..., Project]) -> Project:
    keys = Keys(Secret(), UPSTASH_TOKEN, legacy_disabled_at=datetime.now(UTC).isoformat())
    return new_project(keys=keys)


def queue(project: Project, key: str, token: str) -> httpx.Response:
    headers = {"apikey": key, "Authorization": f"Bearer {token}"}
    return httpx.post(f"{project.url}/functions/v1/queue-job", json=BODY, headers=headers, timeout=LIMIT)


def test_the_functions_work_with_the_new_keys(disabled: Project) -> None:
    user = disabled.user()
    answer = queue(disabled, disabled.stack.publishable_key, user.token)
    assert answer.status_code == 200, answer.text
    db, here = disabled.database, Jobs(disabled.database, Permissive())
    follow_environment(db, disabled.url, signs=True)
    outbox.receiver_set(db, "job-callback", events=["completed"])
    submit(here, disabled.user().id, "image_high")
    finish(here, claim(here, executor(here, lanes=["wan"])))
    Deliverer(db, Keyring(disabled.environment, disabled.url, disabled.stack.secret_key)).run(once=True)
    assert [(r["state"], r["last_status"]) for r in outbox.messages(db, receiver="job-callback")] == [("delivered", 200)]


def test_storage_accepts_the_secret_key_and_reports_a_disabled_legacy_key(disabled: Project, tmp_path: Path) -> None:
    store = SupabaseStorage(disabled.url, disabled.stack.secret_key, BUCKETS)
    for row in compare(store.api, BUCKETS):
        bring(store.api, row)
    picture, path = tmp_path / "one.png", f"{disabled.user().id}/job/1-0.png"
    picture.write_bytes(b"a picture")
    assert store.put("image_fast", path, picture, "image/png").bytes == 9
    assert httpx.get(store.sign("image_fast", path, 60)).content == b"a picture"
    with pytest.raises(StorageDenied, match=r"Legacy API keys are disabled.*SUPABASE_SECRET_KEY"):
        SupabaseStorage(disabled.url, disabled.service_key, BUCKETS).list("image_fast")


def test_tokens_of_both_algorithms_are_accepted(disabled: Project) -> None:
    """HS256 with the project's legacy secret, ES256 with its signing key: the functions forward both."""
    key = disabled.stack.publishable_key
    email, password = "ada@example.com", "correct-horse-9"
    made = httpx.post(f"{disabled.url}/auth/v1/signup", json={"email": email, "password": password}, headers={"apikey": key}, timeout=LIMIT)
    session = made.json()
    assert made.status_code == 200, made.text
    ages.decide(disabled.database, session["user"]["id"], True, "test", "a test")
    disabled.database.rows("select ourvidz.grant_tokens(%s, 100, 'a test')", (session["user"]["id"],))
    from base64 import urlsafe_b64decode

    assert b'"ES256"' in urlsafe_b64decode(session["access_token"].split(".")[0] + "==")
    assert queue(disabled, key, session["access_token"]).status_code == 200
    assert b'"HS256"' in urlsafe_b64decode(disabled.user().token.split(".")[0] + "==")
