"""From Redis to committed rows: resulting jobs, messages for existing rows, and counters."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable

import psycopg
import pytest
from pushing import counted, lengths, made, message, push
from support import Server, Switch, claim, executor, row, types

from ourvidz.db import intake
from ourvidz.db.connection import Database, DatabaseReadOnly
from ourvidz.dev.upstash import UpstashFace
from ourvidz.intake import dead_letters
from ourvidz.intake.drain import Drainer, drain
from ourvidz.intake.upstash import RedisAway, RedisRefused, Upstash
from ourvidz.lifecycle import Jobs

User = Callable[..., str]


def empty(drainer: Drainer) -> None:
    while drainer.once():
        pass


def payload(db: Database, job_id: str) -> dict[str, object]:
    (found,) = db.rows("select prompt, negative_prompt, settings, metadata from public.job_payloads where job_id = %s", (job_id,))
    return found


def plain_insert(db: Database, one: dict[str, object], metadata: str) -> None:
    """As the deployed edge function does: the row first, then the message with its id."""
    (made,) = db.rows(
        """insert into public.jobs (user_id, job_type, format, metadata, status) values (%s, %s, 'image', %s::jsonb, 'queued')
           returning id""",
        (one["user_id"], one["type"], metadata),
    )
    one["id"] = str(made["id"])


def test_messages_become_jobs_in_the_order_they_were_pushed(
    database: Database, upstash: UpstashFace, drainer: Drainer, user: User, jobs: Jobs
) -> None:
    owner = user("premium")
    sent = [message(owner, prompt=f"pier {n}", negative_prompt="fog") for n in range(70)]
    video = message(owner, "video_fast")
    older = message(owner, "image_fast")
    push(upstash, *sent, video)
    push(upstash, older, queue="job_queue")
    empty(drainer)
    assert {*made(database)} == {one["id"] for one in (*sent, video, older)}
    assert types(database, sent[0]["id"]) == ["submitted"]
    first = payload(database, sent[0]["id"])
    assert (first["prompt"], first["negative_prompt"]) == ("pier 0", "fog")
    clip = payload(database, video["id"])["settings"]
    assert isinstance(clip, dict) and (clip["frames"], clip["frames_asked"], clip["steps"]) == (81, 83, 25)
    assert lengths(upstash) == lengths(upstash, "wan_queue") == lengths(upstash, "job_queue") == (0, 0, 0)
    assert counted(database) == {"drained": 72} and drainer.totals == {"drained": 72}
    assert claim(jobs, executor(jobs, lanes=["sdxl"])).job_id == sent[0]["id"]


def test_a_repeated_message_is_the_same_job(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    one = message(user())
    push(upstash, one, one)
    empty(drainer)
    push(upstash, one)
    empty(drainer)
    assert made(database) == [one["id"]]
    assert lengths(upstash) == (0, 0, 0)
    assert counted(database) == {"drained": 1, "repeated": 2}


def test_a_row_that_was_inserted_first_is_the_job(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    """The row wins if both set a value; values found only in the message are recorded, and their price held."""
    owner = user()
    one = message(owner, prompt="what the message says")
    one["config"] |= {"num_images": 3, "seed": 5}
    plain_insert(database, one, '{"prompt": "what the row says", "seed": 9}')
    before = database.rows("select token_balance as n from public.profiles where id = %s", (owner,))[0]["n"]
    push(upstash, one)
    empty(drainer)
    found = payload(database, one["id"])
    settings = found["settings"]
    assert isinstance(settings, dict)
    assert (found["prompt"], settings["seed"], settings["steps"], settings["images"]) == ("what the row says", 9, 25, 3)
    assert types(database, one["id"]) == ["submitted", "rerouted"]
    after = database.rows("select token_balance as n from public.profiles where id = %s", (owner,))[0]["n"]
    assert before - after == 2
    assert counted(database) == {"joined": 1}
    push(upstash, one)
    empty(drainer)
    assert counted(database) == {"joined": 1, "repeated": 1} and len(types(database, one["id"])) == 2


def test_a_message_moves_its_row_to_the_lane_it_needs(
    database: Database, upstash: UpstashFace, drainer: Drainer, user: User, jobs: Jobs
) -> None:
    owner = user()
    one = message(owner, "video_fast")
    one["metadata"] = {"start_reference_url": f"scene-previews/{owner}/a.png"}
    plain_insert(database, one, '{"prompt": "a pier"}')
    assert row(database, one["id"])["lane"] == "wan"
    push(upstash, one)
    empty(drainer)
    assert row(database, one["id"])["lane"] == "wan_vace"
    assert claim(jobs, executor(jobs, lanes=["wan_vace"])).settings.references == {"first_frame": f"scene-previews/{owner}/a.png"}


def test_a_rerouted_job_still_joins_its_message(database: Database, upstash: UpstashFace, drainer: Drainer, user: User, jobs: Jobs) -> None:
    one = message(user())
    plain_insert(database, one, '{"prompt": "a pier"}')
    jobs.reroute(str(one["id"]))
    push(upstash, one, one | {"type": "sdxl_image_high", "bucket": "sdxl_image_high"})
    empty(drainer)
    assert row(database, str(one["id"]))["job_type"] == "image_fast"
    assert counted(database) == {"joined": 1, "refused": 1}
    assert [letter.reason for letter in dead_letters.letters(drainer.redis, drainer.queues)] == ["OV008"]


def test_a_message_cannot_attach_other_users_objects(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    one = message(user(), "video_fast") | {"metadata": {"start_reference_url": f"scene-previews/{user()}/a.png"}}
    plain_insert(database, one, '{"prompt": "a pier"}')
    push(upstash, one)
    empty(drainer)
    assert row(database, str(one["id"]))["lane"] == "wan" and len(types(database, str(one["id"]))) == 1
    (letter,) = dead_letters.letters(drainer.redis, drainer.queues)
    assert letter.reason == "OV018"


def test_a_message_reroutes_only_within_its_type(database: Database) -> None:
    def may(job_type: str, lane: str, reason: str = "message") -> bool:
        told = json.dumps({"reason": reason, "job_type": job_type, "lane": lane})
        return bool(database.rows("select ourvidz.may_reroute('video_fast', %s::jsonb) as may", (told,))[0]["may"])

    assert may("video_fast", "wan_vace") and may("video_fast", "wan")
    assert not may("video_fast", "sdxl") and not may("image_fast", "wan") and not may("video_fast", "wan_vace", "lane_empty")


def test_a_database_fault_does_not_refuse_the_message(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    """The message stays in place until the fault is fixed."""
    one = message(user())
    database.rows(
        "create function public.fault() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = 'XX000'; end $$"
    )
    database.rows("create trigger fault before insert on public.job_payloads for each row execute function public.fault()")
    push(upstash, one)
    with pytest.raises(psycopg.Error):
        drainer.once()
    assert lengths(upstash) == (0, 1, 0)
    database.rows("drop trigger fault on public.job_payloads")
    empty(drainer)
    assert made(database) == [one["id"]]


def test_a_claimed_job_keeps_its_settings(database: Database, upstash: UpstashFace, drainer: Drainer, user: User, jobs: Jobs) -> None:
    owner = user()
    one = message(owner)
    plain_insert(database, one, '{"prompt": "a pier"}')
    held = claim(jobs, executor(jobs))
    push(upstash, one)
    empty(drainer)
    settings = payload(database, one["id"])["settings"]
    assert isinstance(settings, dict) and settings["steps"] == held.settings.steps == 15
    assert counted(database) == {"joined": 1}


def test_one_bad_message_does_not_affect_others(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    owner, unverified = user("premium"), user(verified=False)
    good = [message(owner) for _ in range(20)]
    bad = [message(unverified), message(owner) | {"config": {"num_inference_steps": 61}}, message(owner) | {"type": "poster"}]
    theirs = message(owner)
    push(upstash, *good[:10], *bad, good[10], b"not json", *good[11:], theirs | {"user_id": unverified}, theirs)
    empty(drainer)
    assert {*made(database)} == {one["id"] for one in (*good, theirs)}
    letters = {letter.reason: letter for letter in dead_letters.letters(drainer.redis, drainer.queues)}
    assert {"OV009", "OV010", "no_json"} <= set(letters)
    assert (lengths(upstash)[2], lengths(upstash, "wan_queue")[2]) == (4, 1)
    assert counted(database) == {"drained": 21, "refused": 5}


@pytest.mark.parametrize(
    ("change", "field"),
    [({"type": "poster"}, "job_type"), ({"type": "video_fast", "bucket": "video_fast"}, "type"), ({"bucket": "video_fast"}, "bucket"),
     ({"config": {"num_inference_steps": 0}}, "steps")],
)  # fmt: skip
def test_a_bad_message_becomes_a_dead_letter_naming_its_field(
    database: Database, upstash: UpstashFace, drainer: Drainer, user: User, change: dict[str, object], field: str
) -> None:
    push(upstash, message(user()) | change, queue="sdxl_queue")
    empty(drainer)
    (letter,) = dead_letters.letters(drainer.redis, drainer.queues)
    assert (letter.reason, letter.field) == ("OV009", field) and made(database) == []


def test_a_june_message_from_job_queue_becomes_a_job(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    one = {"jobId": str(uuid.uuid4()), "jobType": "preview", "prompt": "a pier", "userId": user(), "videoId": None}
    push(upstash, one, queue="job_queue")
    empty(drainer)
    assert made(database) == [one["jobId"]] and row(database, str(one["jobId"]))["job_type"] == "image_fast"


def test_other_users_objects_are_not_found(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    mine, theirs = user(), user()
    (project,) = database.rows("insert into public.projects (user_id, title) values (%s, 'theirs') returning id", (theirs,))
    push(
        upstash,
        message(mine) | {"project_id": str(project["id"])},
        message(mine) | {"metadata": {"reference_image_url": f"character-images/{theirs}/face.png"}},
        message(theirs) | {"project_id": str(project["id"])},
    )
    empty(drainer)
    assert len(made(database)) == 1
    assert [letter.reason for letter in dead_letters.letters(drainer.redis, drainer.queues)] == ["OV018", "OV018"]


def test_the_plan_limits_unfinished_jobs(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    owner = user("free")
    push(upstash, *(message(owner) for _ in range(8)))
    empty(drainer)
    assert len(made(database)) == 5 and lengths(upstash) == (0, 0, 3)
    assert {letter.reason for letter in dead_letters.letters(drainer.redis, drainer.queues)} == {"OV015"}


def test_another_users_job_id_is_refused(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    mine, forged = message(user()), message(user())
    push(upstash, mine)
    empty(drainer)
    push(upstash, forged | {"id": mine["id"]})
    empty(drainer)
    assert str(row(database, mine["id"])["user_id"]) == mine["user_id"]
    (letter,) = dead_letters.letters(drainer.redis, drainer.queues)
    assert letter.reason == "OV008" and forged["prompt"] not in letter.detail


def test_a_message_of_another_type_than_its_row_is_refused(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    """Settings of another type must not be applied to the row."""
    one = message(user(), "sdxl_image_fast")
    plain_insert(database, one | {"type": "sdxl_image_high"}, '{"prompt": "a pier"}')
    (made,) = database.rows("select id::text from public.jobs")
    push(upstash, one | {"id": made["id"]})
    empty(drainer)
    assert types(database, made["id"]) == ["submitted"] and row(database, made["id"])["job_type"] == "sdxl_image_high"
    (letter,) = dead_letters.letters(drainer.redis, drainer.queues)
    assert letter.reason == "OV008"


def test_row_and_message_must_be_valid_together(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    owner = user()
    picture = f"reference_images/{owner}/a.png"
    one = message(owner, "sdxl_img2img")
    one["config"] |= {"num_inference_steps": 4, "init_image": picture}
    plain_insert(database, one, json.dumps({"prompt": "a pier", "strength": 0.1, "init_image": picture}))
    push(upstash, one)
    empty(drainer)
    settings = payload(database, one["id"])["settings"]
    assert isinstance(settings, dict) and settings["steps"] != 4
    (letter,) = dead_letters.letters(drainer.redis, drainer.queues)
    assert (letter.reason, letter.field) == ("OV009", "steps")


def test_dead_letters_are_retried_or_dropped(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    """One whose cause is gone is put back, byte for byte."""
    owner = user(verified=False)
    one, other = message(owner), b"\xff\xfe no text at all \x00"
    push(upstash, one, other)
    empty(drainer)
    assert made(database) == [] and lengths(upstash) == (0, 0, 2)
    database.rows("update public.profiles set age_verified = true where id = %s", (owner,))
    letters = {letter.reason: letter for letter in dead_letters.letters(drainer.redis, drainer.queues)}
    assert dead_letters.retry(drainer.redis, letters["OV010"]) and not dead_letters.retry(drainer.redis, letters["OV010"])
    empty(drainer)
    assert made(database) == [one["id"]] and lengths(upstash) == (0, 0, 1)
    assert dead_letters.retry(drainer.redis, letters["no_json"])
    assert upstash.valkey.call("LRANGE", "sdxl_queue", "0", "-1") == [other]
    empty(drainer)
    (again,) = dead_letters.letters(drainer.redis, drainer.queues)
    assert again.id == letters["no_json"].id
    assert dead_letters.drop(drainer.redis, again) and not dead_letters.drop(drainer.redis, again)
    assert lengths(upstash) == (0, 0, 0)


def test_a_message_postgres_rejects_becomes_a_dead_letter_alone(
    database: Database, upstash: UpstashFace, drainer: Drainer, user: User
) -> None:
    """A message that passes all our checks but fails in Postgres must not block those behind it forever."""
    good = message(user())
    database.rows(
        """create function public.poison() returns trigger language plpgsql as $$
           begin if new.prompt = 'poison' then raise exception 'no' using errcode = '22P05'; end if; return new; end $$"""
    )
    database.rows("create trigger poison before insert on public.job_payloads for each row execute function public.poison()")
    push(upstash, message(good["user_id"], prompt="poison"), good)
    empty(drainer)
    assert made(database) == [good["id"]]
    (letter,) = dead_letters.letters(drainer.redis, drainer.queues)
    assert letter.reason == "22P05"


def test_polling_slows_down_while_idle(database: Database, upstash: UpstashFace, drainer: Drainer, user: User) -> None:
    owner = user("premium")
    push(upstash, *(message(owner) for _ in range(60)))
    waits: list[float] = []
    rounds = iter(range(14))
    drain(drainer, lambda: next(rounds, None) is None, wait=waits.append)
    assert len(made(database)) == 60
    idle = waits[:]
    assert len(idle) >= 8 and all(a < b * 1.5 for a, b in itertools.pairwise(idle)) and idle[0] < 0.2
    assert max(idle) <= 2.0 and max(idle) > 1.0
    rounds = iter(range(2))
    upstash.seen.clear()
    drain(drainer, lambda: next(rounds, None) is None, wait=waits.append)
    assert len(upstash.seen) == 2  # one command per poll: each is billed


def test_a_redis_outage_is_survived(database: Database, upstash: UpstashFace, drainer: Drainer, user: User, jobs: Jobs) -> None:
    owner = user()
    waits: list[float] = []
    with upstash.refuse():
        with pytest.raises(RedisAway):
            drainer.once()
        rounds = iter(range(6))
        drain(drainer, lambda: next(rounds, None) is None, wait=waits.append)
        assert waits == sorted(waits) or max(waits) > 4 * min(waits)  # backs off
        from support import submit

        submit(jobs, owner)  # nothing else depends on Redis
    push(upstash, message(owner))
    empty(drainer)
    assert len(made(database)) == 2


def test_the_intake_role_suffices(server: Server, database_name: str, database: Database, upstash: UpstashFace, user: User) -> None:
    url = server.url(database_name, superuser=True)
    theirs = Database(f"{url}{'&' if '?' in url else '?'}options=-c%20role%3Dourvidz_intake")
    push(upstash, message(user()), b"no json")
    drainer = Drainer(theirs, Upstash(upstash.url, upstash.token), ("sdxl_queue",))
    empty(drainer)
    assert drainer.totals == {"drained": 1, "refused": 1} and len(made(database)) == 1
    assert intake.forget(theirs) == 0 and {r["outcome"] for r in intake.counts(theirs, 1)} == {"drained", "refused"}
    theirs.close()


def test_a_wrong_token_is_an_error_without_retries(upstash: UpstashFace) -> None:
    with pytest.raises(RedisRefused, match="UPSTASH_REDIS_REST_TOKEN"):
        Upstash(upstash.url, "wrong").pipeline([("LLEN", "sdxl_queue")])


def test_a_read_only_database_loses_and_doubles_nothing(
    database: Database, upstash: UpstashFace, drainer: Drainer, user: User, server: Server, database_name: str
) -> None:
    """No message is refused for it either: an outage is not the message's fault."""
    owner, switch = user("premium"), Switch(server, database_name)
    sent = [message(owner) for _ in range(3)]
    push(upstash, *sent)
    switch.read_only(on=True)
    drainer.patience = 0.1
    for _ in range(2):
        with pytest.raises(DatabaseReadOnly):
            drainer.once()
    assert lengths(upstash) == (0, 3, 0)
    switch.read_only(on=False)
    empty(drainer)
    assert {*made(database)} == {one["id"] for one in sent}
    assert lengths(upstash) == (0, 0, 0)
    assert [types(database, one["id"]) for one in sent] == [["submitted"]] * 3
