"""queue-job over HTTP as a browser calls it: gateway, Deno, PostgREST, row-level security, and the resulting row."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from stack_fixtures import Project, User
from support import types
from waiting import LIMIT, wait_for

from ourvidz.dev.tokens import stripped, unsigned
from state.catalog import JOB_TYPES

FIELDS = {"success", "job", "message", "queueLength", "modelVariant", "jobType", "queue", "isSDXL", "negativePromptSupported",
          "fixes_applied", "debug"}  # fmt: skip
"""Fields of the deployed function's answer; front ends read them."""


@pytest.fixture(scope="module")
def project(standing_project: Project) -> Project:
    return standing_project


def ask(project: Project, who: User | str | None, body: Any, **headers: str) -> httpx.Response:
    with project.client(who) as client:
        return client.post("/functions/v1/queue-job", content=json.dumps(body), headers=headers)


def jobs_of(project: Project, user: User) -> list[dict[str, Any]]:
    return project.database.rows("select * from public.jobs where user_id = %s order by created_at", (user.id,))


def balance(project: Project, user: User) -> int:
    return int(project.database.rows("select token_balance as n from public.profiles where id = %s", (user.id,))[0]["n"])


@pytest.mark.parametrize("job_type", [name for name, kind in JOB_TYPES.items() if not kind.init_image])
def test_every_type_is_queued(project: Project, job_type: str) -> None:
    user, kind = project.user("premium"), JOB_TYPES[job_type]
    before = balance(project, user)
    answer = ask(project, user, {"jobType": job_type, "metadata": {"prompt": "a lighthouse at dusk", "seed": 5}})
    told = answer.json()
    assert answer.status_code == 200 and told.keys() >= FIELDS, told
    assert (told["success"], told["jobType"], told["queue"], told["isSDXL"]) == (True, job_type, kind.queue, kind.family == "sdxl")
    assert told["price"] == kind.price == before - balance(project, user) and told["balance"] == before - kind.price
    (row,) = jobs_of(project, user)
    assert told["job"]["id"] == str(row["id"]) and told["job"]["status"] == "queued" and told["position"] >= 1
    assert types(project.database, told["job"]["id"]) == ["submitted"]
    (words,) = project.database.rows("select prompt, settings from public.job_payloads where job_id = %s", (row["id"],))
    assert words["prompt"] == "a lighthouse at dusk" and words["settings"]["seed"] == 5


def test_project_prompt_and_negative_prompt_are_used(project: Project) -> None:
    user = project.user()
    sql = """insert into public.projects (user_id, original_prompt, enhanced_prompt) values (%s, 'a pier', 'a pier, long exposure')
             returning id"""
    (mine,) = project.database.rows(sql, (user.id,))
    body = {"jobType": "image_fast", "metadata": {"negative_prompt": "fog"}, "projectId": str(mine["id"])}
    told = ask(project, user, body).json()
    (words,) = project.database.rows("select prompt, negative_prompt from public.job_payloads where job_id = %s", (told["job"]["id"],))
    assert words == {"prompt": "a pier, long exposure", "negative_prompt": "fog"}


def test_an_idempotency_key_gives_one_job(project: Project) -> None:
    user, body = project.user(), {"jobType": "image_fast", "metadata": {"prompt": "a pier"}}
    first, again = (ask(project, user, body, **{"Idempotency-Key": "k1"}).json() for _ in range(2))
    assert first["job"]["id"] == again["job"]["id"] and (first["created"], again["created"]) == (True, False)
    changed = ask(project, user, body | {"metadata": {"prompt": "dunes"}}, **{"Idempotency-Key": "k1"})
    assert (changed.status_code, changed.json()["code"]) == (409, "OV008")
    assert len(jobs_of(project, user)) == 1


def test_a_hundred_concurrent_calls_with_one_key_give_one_job_and_one_hold(project: Project) -> None:
    user, body = project.user("premium"), {"jobType": "video_fast", "metadata": {"prompt": "a pier"}}
    before, answers = balance(project, user), []

    def call() -> None:
        answers.append(ask(project, user, body, **{"Idempotency-Key": "storm"}))

    threads = [threading.Thread(target=call) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert {answer.status_code for answer in answers} == {200}, {answer.text for answer in answers if answer.status_code != 200}
    assert len({answer.json()["job"]["id"] for answer in answers}) == 1 and sum(answer.json()["created"] for answer in answers) == 1
    assert len(jobs_of(project, user)) == 1 and before - balance(project, user) == 20


BODY = {"jobType": "image_fast", "metadata": {"prompt": "a pier"}}
DEEP: dict[str, Any] = {}
for _ in range(900):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"jobType": "poster", "metadata": {}}, 400, "validJobTypes"), ({"metadata": {}}, 400, "validJobTypes"),
        ({"jobType": ["image_fast"]}, 400, "validJobTypes"), ({"jobType": "toString"}, 400, "validJobTypes"), ([], 400, "details"),
        ("text", 400, "details"), (None, 400, "details"), (BODY | {"metadata": []}, 400, "field"),
        (BODY | {"metadata": {}}, 400, "details"), (BODY | {"metadata": {"prompt": ["a"]}}, 400, "field"),
        (BODY | {"metadata": {"prompt": "a\0b"}}, 400, "details"), (BODY | {"metadata": {"prompt": "\ud800"}}, 400, "details"),
        (BODY | {"metadata": {"prompt": "x" * 4001}}, 400, "field"), (BODY | {"metadata": {"prompt": "x", "steps": 900}}, 400, "code"),
        (BODY | {"metadata": {"prompt": "x", "steps": "5"}}, 400, "code"),
        (BODY | {"metadata": {"prompt": "x", "note": "a\0"}}, 400, "details"),
        (BODY | {"projectId": "5"}, 400, "field"), (BODY | {"metadata": {"prompt": "x", "a": DEEP}}, 400, "details"),
        (BODY | {"metadata": {"prompt": "x", "a": "y" * 2**20}}, 413, "details"),
    ],
    ids=range(19),
)  # fmt: skip
def test_bad_input_is_refused_by_name(project: Project, body: Any, status: int, told: str) -> None:
    user = project.user()
    answer = ask(project, user, body)
    said = answer.json()
    assert answer.status_code == status, answer.text
    assert said["success"] is False and said["error"] and said["details"] and told in said
    assert jobs_of(project, user) == []


def test_extra_fields_of_an_old_front_end_are_ignored(project: Project) -> None:
    user, other = project.user(), project.user()
    answer = ask(project, user, BODY | {"user_id": other.id, "priority": 9, "batchCount": 1})
    assert answer.status_code == 200, answer.text
    assert len(jobs_of(project, user)) == 1 and jobs_of(project, other) == []


def test_the_screened_text_is_the_queued_text(project: Project) -> None:
    """Staged: the rpc waits for the user's lock, held by the test, and meanwhile the project's prompt is changed."""
    user = project.user()
    (mine,) = project.database.rows("insert into public.projects (user_id, original_prompt) values (%s, 'a pier') returning id", (user.id,))
    answers: list[httpx.Response] = []
    body = BODY | {"metadata": {}, "projectId": str(mine["id"])}
    asking = threading.Thread(target=lambda: answers.append(ask(project, user, body)))
    with project.database.transaction() as connection:
        connection.execute(text("select ourvidz.lock_user_submissions(:user)"), {"user": user.id})
        asking.start()
        until_one_waits(project)
        connection.execute(text("update public.projects set original_prompt = 'something else' where id = :id"), {"id": mine["id"]})
    asking.join(LIMIT)
    told = answers[0].json()
    (words,) = project.database.rows("select prompt from public.job_payloads where job_id = %s", (told["job"]["id"],))
    assert words == {"prompt": "a pier"}


def until_one_waits(project: Project) -> None:
    """Wait until a session of this database is blocked by a lock."""
    # By session: waiting for a row means waiting for a transaction, a lock that belongs to no database.
    sql = """select count(*) as n from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
             where a.datname = current_database() and not l.granted"""
    wait_for(lambda: project.database.rows(sql)[0]["n"], "for a session to wait for a lock")


def test_a_body_that_is_not_json_is_refused(project: Project) -> None:
    with project.client(project.user()) as client:
        for raw in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
            assert client.post("/functions/v1/queue-job", content=raw).status_code == 400
        assert client.get("/functions/v1/queue-job").status_code == 405
        preflight = client.options("/functions/v1/queue-job", headers={"Origin": "https://ourvidz.lovable.app"})
        assert preflight.status_code == 204 and "authorization" in preflight.headers["access-control-allow-headers"]


def test_unauthorised_users_are_refused(project: Project) -> None:
    """No token, the anon key, an expired, unsigned or foreign token; an unverified profile; no tokens left; too many jobs."""
    user = project.user()
    for token in (None, project.secret.expired(user.id), unsigned(user.id), stripped(user.token), type(project.secret)().user(user.id)):
        assert ask(project, token, BODY).status_code in (401, 403), token
    assert jobs_of(project, user) == []
    unverified = ask(project, project.user(verified=False), BODY)
    assert (unverified.status_code, unverified.json()["code"]) == (403, "OV010")
    for _ in range(5):
        assert ask(project, user, BODY).status_code == 200
    full = ask(project, user, BODY)
    assert (full.status_code, full.json()["code"]) == (429, "OV015")


def test_an_age_refusal_links_to_the_verification_page(project: Project) -> None:
    from ourvidz.db import ages

    url = f"{project.url}/functions/v1/verify"
    assert ages.follow_project(project.database, project.url) == url
    said = ask(project, project.user(verified=False), BODY).json()
    assert (said["code"], said["helpUrl"]) == ("OV010", f"{url}#age") and f"{url}#age" in said["details"]
    page = httpx.get(said["helpUrl"])
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Your age" in page.text and project.stack.publishable_key in page.text and project.stack.secret_key not in page.text


def test_the_plans_rate_limit_returns_429_with_retry_after(project: Project) -> None:
    """Ten a minute on the free plan: the eleventh gets a Retry-After."""
    user = project.user()
    for n in range(10):
        told = ask(project, user, BODY).json()
        project.database.rows("select ourvidz.cancel(%s)", (told["job"]["id"],))
        assert told["success"], n
    answer = ask(project, user, BODY)
    assert (answer.status_code, answer.json()["code"]) == (429, "OV016")
    assert 1 <= int(answer.headers["retry-after"]) <= 60 and answer.json()["retryAfter"] == int(answer.headers["retry-after"])


def test_a_submit_without_enough_tokens_is_refused(project: Project) -> None:
    user = project.user()
    project.database.rows("select ourvidz.revoke_tokens(%s, %s, 'spent', 'all of it')", (user.id, balance(project, user) - 19))
    answer = ask(project, user, {"jobType": "video_fast", "metadata": {"prompt": "a pier"}})
    assert (answer.status_code, answer.json()["code"]) == (402, "OV014")
    assert jobs_of(project, user) == [] and balance(project, user) == 19


def test_other_users_objects_are_not_found(project: Project) -> None:
    user, other = project.user(), project.user()
    (theirs,) = project.database.rows(
        "insert into public.projects (user_id, original_prompt) values (%s, 'a pier') returning id", (other.id,)
    )
    (video,) = project.database.rows("insert into public.videos (user_id) values (%s) returning id", (other.id,))
    for more in (
        {"projectId": str(theirs["id"])},
        {"videoId": str(video["id"])},
        {"metadata": {"prompt": "x", "reference_image_url": f"character-images/{other.id}/face.png"}},
    ):
        answer = ask(project, user, BODY | more)
        assert (answer.status_code, answer.json()["code"]) == (404, "OV018"), more
    assert jobs_of(project, user) == []


def test_a_refused_prompt_is_not_queued_and_not_repeated(project: Project) -> None:
    """Wherever the words are: in the request, the project, the negative prompt."""
    from ourvidz.safety.lexical import LexicalScreen

    word = "schoolgirl"  # from the term lists: a neutral word by itself
    assert not LexicalScreen().check(word).allowed
    user = project.user()
    (mine,) = project.database.rows("insert into public.projects (user_id, original_prompt) values (%s, %s) returning id", (user.id, word))
    for body in (
        {"metadata": {"prompt": word}},
        {"metadata": {"prompt": "a pier", "negativePrompt": word}},
        {"projectId": str(mine["id"])},
    ):
        answer = ask(project, user, BODY | body)
        said = answer.json()
        assert (answer.status_code, said["code"], said["success"]) == (422, "OV013", False)
        assert said["category"] and said["policyVersion"] and word not in answer.text
    kept = project.database.rows(
        """select stage, allowed, category, policy_version, rule_id is not null as rule,
                  digest = encode(sha256(salt || sha256(convert_to(%s, 'UTF8'))), 'hex') as its
           from ourvidz.screenings where user_id = %s""",
        (word, user.id),
    )
    policy = {"category": said["category"], "policy_version": said["policyVersion"]}
    assert kept == [{"stage": "door", "allowed": False, **policy, "rule": True, "its": True}] * 3
    assert jobs_of(project, user) == []


def test_a_refusal_that_cannot_be_recorded_is_still_returned(project: Project) -> None:
    user = project.user()
    for _ in range(21):  # one more than are recorded per minute
        answer = ask(project, user, BODY | {"metadata": {"prompt": "schoolgirl"}})
        assert (answer.status_code, answer.json()["code"]) == (422, "OV013")
    assert project.database.rows("select count(*)::int as n from ourvidz.screenings where user_id = %s", (user.id,)) == [{"n": 20}]
    assert jobs_of(project, user) == []
