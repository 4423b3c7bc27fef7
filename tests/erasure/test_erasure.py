"""After an erasure no text of the user is left anywhere, all data of others is, and the events still verify."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from erasure_fixture import MINE, SHA, THEIRS, House, dump, holding
from support import new_user, row, submit, types

from ourvidz import erasure
from ourvidz.audit import audit, rebuild
from ourvidz.db import safety
from ourvidz.db.objects import unnamed
from ourvidz.dev.upstash import UpstashFace
from ourvidz.erasure import StillRunning
from ourvidz.intake import dead_letters
from ourvidz.intake.message import RefusedMessage
from ourvidz.intake.upstash import Upstash
from state.errors import LegalHold, NotAgeVerified, NotFound

HELD = {
    "public.profiles", "public.jobs", "public.images", "public.job_payloads", "public.artifacts", "public.characters", "public.projects",
    "public.usage_logs", "public.consents", "ourvidz.enhancement_requests", "ourvidz.older_jobs",
}  # fmt: skip


def whole(house: House) -> None:
    report = audit(house.database)
    assert report.findings == () and rebuild(house.database, verify=True) == ()


def test_erasure_removes_all_data_of_the_user_and_none_of_others(
    house: House, superuser: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    me, other = house.user(MINE), house.user(THEIRS)
    before = dump(superuser)
    assert holding(before, MINE) == holding(before, THEIRS) == HELD and house.files(MINE) and house.of(me)
    history = superuser.execute("select job_id, version, hash from public.job_events order by seq").fetchall()
    figures = superuser.execute("select * from ourvidz.token_entries order by seq").fetchall()

    done = house.eraser.erase(me, by="person:test", reason="asked for")

    after = dump(superuser)
    assert holding(after, MINE) == set() and house.files(MINE) == [] and house.of(me) == []
    assert MINE not in caplog.text + str(done) and MINE not in str(safety.holds(house.database, lifted=True))
    assert holding(after, THEIRS) == HELD and house.files(THEIRS) and house.of(other)
    for name in HELD - {"public.jobs", "public.job_payloads", "public.usage_logs", "public.profiles"}:
        assert [line for line in after[name].splitlines() if other in line] == [line for line in before[name].splitlines() if other in line]
    # History stays; the cancel of the waiting job and the deletion of the one picture are added.
    now = superuser.execute("select job_id, version, hash from public.job_events order by seq").fetchall()
    assert now[: len(history)] == history and len(now) == len(history) + 2
    assert superuser.execute("select * from ourvidz.token_entries order by seq").fetchall()[: len(figures)] == figures
    whole(house)
    assert (done.counts["prompts"], done.counts["objects"], done.counts["spool"], done.counts["older_jobs"]) == (3, 3, 1, 1)
    assert all(done.counts[kind] for kind in ("artifacts", "videos", "projects", "characters", "consents", "usage_logs", "refusal_digests"))
    (kept,) = house.database.rows("select * from ourvidz.erasures")
    assert kept["counts"] == done.counts and kept["finished_at"] == done.finished_at and kept["reason"] == "asked for"
    assert f"DELETE /auth/v1/admin/users/{me}" in "\n".join(done.remains)


def test_digests_cannot_be_matched_to_text_after_erasure(house: House) -> None:
    me = house.user(MINE)
    asked = """select e.data->>'digest' as digest, (select encode(sha256(p.salt || convert_to(%s, 'UTF8')), 'hex')) as mine
               from public.job_events as e join public.job_payloads as p using (job_id) where e.type = 'prompt_enhanced'"""
    text = (f"a {MINE}, long exposure",)
    (before,) = house.database.rows(asked, text)
    assert before["digest"] == before["mine"]
    salts = {bytes(r["salt"]) for r in house.database.rows("select salt from public.job_payloads")}
    house.eraser.erase(me, by="test")
    (after,) = house.database.rows(asked, text)
    assert after["digest"] == before["digest"] != after["mine"]
    assert not salts & {bytes(r["salt"]) for r in house.database.rows("select salt from public.job_payloads")}
    assert house.database.rows("select digest, salt from ourvidz.screenings") == [{"digest": None, "salt": None}]


def test_foreign_tables_that_mention_the_user_are_reported_and_kept(house: House) -> None:
    me, other = house.user(MINE), house.user(THEIRS)
    house.database.rows("create table public.favourites (whose uuid references public.profiles, note text)")
    house.database.rows('create table public."Diary pages" (user_id text, page text)')
    for user in (me, me, other):
        house.database.rows("insert into public.favourites values (%s, 'x')", (user,))
    house.database.rows('insert into public."Diary pages" values (%s, %s)', (me, "x"))
    (said,) = [line for line in house.eraser.look(me).remains if line.startswith("Tables")]
    assert 'public."Diary pages" (user_id, 1), public.favourites (whose, 2)' in said and me in said
    house.database.rows("delete from public.favourites where whose = %s", (other,))
    assert not [line for line in house.eraser.look(other).remains if line.startswith("Tables")]


def test_an_erased_user_cannot_submit(house: House) -> None:
    me = house.user(MINE)
    house.eraser.erase(me, by="test")
    failed = house.database.rows("select id::text from public.jobs where status = 'failed'")[0]["id"]
    with pytest.raises(NotAgeVerified):
        submit(house.jobs, me)
    with pytest.raises(NotAgeVerified):
        house.jobs.retry(failed)
    with pytest.raises(NotAgeVerified):
        house.database.rows(
            "insert into public.jobs (user_id, job_type, metadata, status) values (%s, 'image_fast', '{\"prompt\": \"x\"}', 'queued')",
            (me,),
        )
    with pytest.raises(NotFound):
        safety.attest(house.database, me, SHA, "v1")
    with pytest.raises(psycopg.errors.CheckViolation):
        house.database.rows("update public.profiles set age_verified = true where id = %s", (me,))
    # Late writes by the legacy system's callback, and by an entry point that refused.
    claims = "select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', true)"
    with house.database.transaction() as connection:
        connection.exec_driver_sql(claims)
        connection.exec_driver_sql(
            "update public.jobs set status = 'failed', metadata = '{\"p\": \"late\"}', error_message = 'late' where id = %s", (failed,)
        )
    house.database.rows("select ourvidz.record_refusal(%s, 'minors', '2025-08+00000000', null, %s)", (me, SHA))
    found = row(house.database, failed)
    assert (found["metadata"], found["error_message"]) == (None, None)
    assert len(house.database.rows("select 1 from ourvidz.screenings")) == 1


def test_a_dry_run_changes_nothing_and_reports_the_same_counts(house: House, superuser: psycopg.Connection[Any]) -> None:
    me = house.user(MINE)
    before = dump(superuser)
    told = house.eraser.look(me)
    assert dump(superuser) == before and house.files(MINE) and told.finished_at is None
    assert told.counts.pop("unfinished_jobs") == 1  # type: ignore[attr-defined]
    done = house.eraser.erase(me, by="test")
    # The object with the strange name is not listed, but erased.
    assert done.counts == {**told.counts, "objects": told.counts["objects"] + 1}


STEPS = ["erase_begin", "unfinished", "erase_user_data", "job_ids", "erase_add_counts", "erase_finish"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_an_erasure_killed_at_any_step_can_be_resumed(
    house: House, superuser: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    me = house.user(MINE)
    real: Callable[..., Any] = getattr(safety, step)

    class Killed(BaseException): ...

    def dies(*args: Any, **more: Any) -> Any:
        if when == "after":
            real(*args, **more)
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(erasure.safety, step, dies)
        with pytest.raises(Killed):
            house.eraser.erase(me, by="test")
    done = house.eraser.erase(me, by="test")
    assert done.finished_at is not None
    assert holding(dump(superuser), MINE) == set() and house.files(MINE) == [] and house.of(me) == []
    whole(house)
    # One record, unless the first had been finished; a third erasure has nothing to do.
    records = house.database.rows("select finished_at from ourvidz.erasures")
    assert len(records) == 1 + ((step, when) == ("erase_finish", "after")) and all(r["finished_at"] for r in records)
    assert not any(house.eraser.erase(me, by="test").counts.values())


def test_a_hold_keeps_everything_until_it_is_lifted(house: House, superuser: psycopg.Connection[Any]) -> None:
    me = house.user(MINE)
    stray = f"{me}/{house.database.rows('select id::text from public.jobs')[0]['id']}/9-0.png"
    assert unnamed(house.database, "sdxl_image_fast", [stray]) == {stray: True}
    first = safety.hold_set(house.database, me, "court order", "a")
    assert safety.hold_set(house.database, me, "another reason", "b")["id"] == first["id"]
    before = dump(superuser)
    for refused in (lambda: house.eraser.erase(me, by="test"), lambda: house.eraser.look(me)):
        with pytest.raises(LegalHold, match="ourvidz hold lift"):
            refused()
    assert dump(superuser) == before and unnamed(house.database, "sdxl_image_fast", [stray]) == {}
    assert safety.hold_lift(house.database, me, "b") and not safety.hold_lift(house.database, me, "b")
    (kept,) = safety.holds(house.database, lifted=True)
    assert (kept["reason"], kept["set_by"], kept["lifted_by"]) == ("court order", "a", "b") and safety.holds(house.database) == []
    assert unnamed(house.database, "sdxl_image_fast", [stray]) == {stray: True}
    assert house.eraser.erase(me, by="test").finished_at


def test_a_hold_set_during_an_erasure_keeps_the_remaining_data(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    me, real = house.user(MINE), safety.erase_begin

    def then_held(*args: Any) -> Any:
        done = real(*args)
        safety.hold_set(house.database, me, "court order", "a")
        return done

    monkeypatch.setattr(erasure.safety, "erase_begin", then_held)
    with pytest.raises(LegalHold):
        house.eraser.erase(me, by="test")
    assert house.files(MINE) and house.database.rows("select 1 from public.job_payloads where prompt = %s", (f"a {MINE} at dusk",))


def test_a_hold_needs_a_reason_and_a_user(house: House) -> None:
    with pytest.raises(Exception, match="reason"):
        safety.hold_set(house.database, new_user(house.database), "  ", "a")
    for call in (lambda: safety.hold_set(house.database, "00000000-0000-0000-0000-00000000000a", "x", "a"),
                 lambda: house.eraser.erase("00000000-0000-0000-0000-00000000000a", by="test")):  # fmt: skip
        with pytest.raises(NotFound):
            call()


def test_only_the_users_dead_letters_are_deleted(house: House, upstash: UpstashFace) -> None:
    me, other = house.user(MINE), house.user(THEIRS)
    redis = Upstash(upstash.url, upstash.token)
    house.eraser = erasure.Eraser(house.jobs, house.store, house.spool, redis)
    letters = {queue: [json.dumps({"user_id": user.upper(), "prompt": word}).encode() for user, word in ((me, MINE), (other, THEIRS))]
               for queue in ("sdxl_queue", "wan_queue")}  # fmt: skip
    letters["wan_queue"].append(b'{"prompt": "' + MINE.encode() + b'", "user_id": "' + me.encode() + b"\xff no JSON")
    for queue, raws in letters.items():
        for raw in raws:
            dead_letters.bury(redis, queue, raw, RefusedMessage("bad_field", "x", field="x"))
    done = house.eraser.erase(me, by="test")
    left = b"".join(bytes(entry) for queue in letters for entry in upstash.valkey.call("LRANGE", f"{queue}:dead", "0", "-1"))
    assert done.counts["dead_letters"] == 3 and MINE.encode() not in left and left.count(THEIRS.encode()) == 2
    redis.close()


def test_erasure_stops_without_deleting_if_a_job_is_still_running(house: House) -> None:
    me = house.user(MINE)
    gpu = house.jobs.register("busy", "host", 1, ["wan", "sdxl"])
    (held,) = house.jobs.claim(gpu)
    with pytest.raises(StillRunning, match="1 jobs are still held after 0 s, by busy"):
        house.eraser.erase(me, by="test", timeout_s=0)
    assert row(house.database, held.job_id)["cancel_requested"] and house.files(MINE)
    assert house.database.rows("select prompt from public.job_payloads where job_id = %s", (held.job_id,))[0]["prompt"]
    house.jobs.honour_cancel(held)
    assert house.eraser.erase(me, by="test", timeout_s=0).finished_at and types(house.database, held.job_id)[-1] == "cancelled"
