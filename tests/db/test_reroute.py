"""A job whose model family cannot run moves to its type's fallback: by hand, or by the reaper if an operator enabled it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from handmade_events import Forger
from support import Clock, artifact, as_job, claim, events, executor, finish, row, submit, types

from ourvidz.audit import audit, rebuild
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.errors import IllegalTransition, InvalidJob, VersionConflict
from state.job import fold
from state.policy import FALLBACKS

User = Callable[..., str]
STYLE = {"style": "https://example.org/a.png"}
AFTER = 600.0


def payload(database: Database, job_id: str) -> dict[str, Any]:
    (found,) = database.rows("select settings, metadata from public.job_payloads where job_id = %s", (job_id,))
    return found


def turn_on(database: Database, seconds: float = AFTER) -> None:
    database.rows("update ourvidz.policy set reroute_after = %s", (seconds,))


def test_a_rerouted_job_is_made_by_the_fallback(database: Database, jobs: Jobs, user: User) -> None:
    chosen = {"width": 1216, "height": 832, "guidance": 9.0, "seed": 77, "scheduler": "EulerDiscreteScheduler"}
    job_id = submit(jobs, user(), "sdxl_image_premium", settings=chosen, metadata={"scene": 4})
    asked = payload(database, job_id)["settings"]
    jobs.reroute(job_id, version=1, actor="person:ada")
    found = row(database, job_id)
    assert (found["status"], found["job_type"], found["lane"], found["ready"], found["version"]) == ("queued", "image_high", "wan", True, 2)
    told = events(database, job_id)[-1]
    assert (told.type, told.actor) == ("rerouted", "person:ada")
    figures = {name: value for name, value in asked.items() if name not in ("frames_asked",)}
    assert dict(told.data) == {
        "job_type": "image_high", "lane": "wan", "rank": found["rank"], "from_type": "sdxl_image_premium", "reason": "asked",
        "price_change": 0, "settings": figures,
    }  # fmt: skip
    now = payload(database, job_id)
    assert now["metadata"] == {"scene": 4, "rerouted": {"job_type": "sdxl_image_premium", "settings": asked}}
    assert (now["settings"]["width"], now["settings"]["height"], now["settings"]["steps"]) == (832, 480, 50)
    assert (now["settings"]["guidance"], now["settings"]["seed"]) == (9.0, 77)
    job = claim(jobs, executor(jobs, lanes=["wan"]))
    assert (job.job_id, job.job_type, job.settings.sampler, job.settings.scheduler) == (job_id, "image_high", "unipc", None)
    finish(jobs, job)
    assert fold(events(database, job_id), job_id) == as_job(row(database, job_id))
    assert rebuild(database, verify=True) == () and audit(database).findings == ()


@pytest.mark.parametrize(
    ("name", "chosen", "made"),
    [
        ("sdxl_image_premium", {"width": 1216, "height": 832}, {"width": 832, "height": 480, "steps": 50, "guidance": 7.5}),
        ("sdxl_image_high", {"width": 896, "height": 1152, "steps": 30}, {"width": 480, "height": 832, "steps": 30, "guidance": 7.5}),
        ("sdxl_image_fast", {"guidance": 6.0, "scheduler": "EulerDiscreteScheduler"},
         {"width": 480, "height": 832, "steps": 25, "guidance": 6.0}),
        ("sdxl_image_fast", {"on_enhance_failure": "fail", "seed": 5}, {"on_enhance_failure": "fail", "seed": 5, "images": 1}),
    ],
)  # fmt: skip
def test_reroute_converts_settings_for_the_fallback(
    database: Database, jobs: Jobs, user: User, name: str, chosen: dict[str, Any], made: dict[str, Any]
) -> None:
    job_id = submit(jobs, user(), name, settings=chosen)
    jobs.reroute(job_id)
    found = payload(database, job_id)["settings"]
    assert found == found | made
    asked = {k: v for k, v in found.items() if k != "frames_asked"}
    (again,) = database.rows(
        "select ourvidz.normalise(%s::jsonb, 'cli')->'settings' as s",
        (json.dumps({"job_type": FALLBACKS[name], "settings": asked, "prompt": "x"}),),
    )
    assert again["s"] == found
    now = row(database, job_id)
    assert (now["model_type"], now["worker_type"], now["metadata"]["bucket"]) == (FALLBACKS[name], "WAN", FALLBACKS[name])


# -- refusals ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job_type", "chosen", "says"),
    [
        ("image_fast", {}, "a image_fast has no fallback"),
        ("video_high", {}, "a video_high has no fallback"),
        ("sdxl_img2img", {"references": {"init": "https://example.org/a.png"}}, "a sdxl_img2img has no fallback"),
        ("sdxl_image_fast", {"images": 3}, "it is a batch of 3, and a image_fast makes one image a job"),
        ("sdxl_image_high", {"references": STYLE}, "it has reference pictures"),
    ],
)
def test_reroute_is_refused_if_the_fallback_cannot_run_the_job(
    database: Database, jobs: Jobs, user: User, job_type: str, chosen: dict[str, Any], says: str
) -> None:
    job_id = submit(jobs, user(), job_type, settings=chosen)
    before = row(database, job_id), payload(database, job_id)
    with pytest.raises(InvalidJob, match=says) as refused:
        jobs.reroute(job_id)
    assert job_id in str(refused.value) and "Let it wait" in str(refused.value)
    assert (row(database, job_id), payload(database, job_id)) == before


def test_a_job_with_outputs_cannot_be_rerouted(jobs: Jobs, user: User, database: Database, clock: Clock) -> None:
    job_id = submit(jobs, user())
    job = claim(jobs, executor(jobs))
    jobs.advance(job, "generation_started")
    jobs.artifact_generated(job, artifact(job))
    jobs.fail(job, "storage", "It went away.")
    with pytest.raises(InvalidJob, match="outputs of an earlier attempt"):
        jobs.reroute(job_id)


def test_only_a_waiting_job_can_be_rerouted(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id, gpu = submit(jobs, user()), executor(jobs)
    with pytest.raises(VersionConflict):
        jobs.reroute(job_id, version=2)
    job = claim(jobs, gpu)
    with pytest.raises(IllegalTransition, match="held by an executor"):
        jobs.reroute(job_id)
    jobs.advance(job, "generation_started")
    with pytest.raises(IllegalTransition, match="is generating"):
        jobs.reroute(job_id)
    jobs.fail(job, "out_of_memory", "No memory.")
    jobs.reroute(job_id)  # it waits for its retry, and keeps waiting
    found = row(database, job_id)
    assert (found["job_type"], found["ready"], found["errors"]) == ("image_fast", False, 1)
    with pytest.raises(InvalidJob, match="has no fallback"):
        jobs.reroute(job_id)


@pytest.mark.parametrize(
    "data",
    [
        {"job_type": "video_high", "lane": "wan", "rank": 1},
        {"job_type": "image_high", "lane": "wan", "rank": 1},  # another type's fallback
        {"job_type": "sdxl_image_fast", "lane": "sdxl", "rank": 1},
        {"job_type": "image_fast", "lane": "wan_vace", "rank": 1},
        {"job_type": "image_fast", "lane": "sdxl", "rank": 1},
    ],
)
def test_a_hand_written_reroute_to_another_type_is_refused(
    database: Database, jobs: Jobs, user: User, clock: Clock, data: dict[str, Any]
) -> None:
    job_id = submit(jobs, user(), "sdxl_image_fast")
    with database.driver() as connection:
        forger = Forger(connection)
        with pytest.raises(Exception, match="may not be rerouted to") as refused:
            forger.insert(forger.next(job_id, "rerouted", data=data))
        assert refused.value.sqlstate == "OV001"  # type: ignore[attr-defined]
        forger.insert(forger.next(job_id, "rerouted", data={"job_type": "image_fast", "lane": "wan", "rank": 1}))
    assert row(database, job_id)["job_type"] == "image_fast"


def test_unknown_settings_are_not_copied_into_the_event(database: Database, jobs: Jobs, user: User) -> None:
    """Events may hold nothing that a person wrote, so unknown settings are not stored as settings."""
    asked = [{"user_id": user(), "job_type": "sdxl_image_fast", "prompt": "a pier", "settings": {"note": "Ada's number"},
              "metadata": {"rerouted": {"job_type": "video_high"}, "scene": 1}}]  # fmt: skip
    (made,) = database.rows("select job_id from ourvidz.submit_batch(%s::jsonb)", (json.dumps(asked),))
    job_id = str(made["job_id"])
    found = payload(database, job_id)
    assert found["metadata"] == {"scene": 1} and "note" not in found["settings"]  # the key `rerouted` is reserved
    (words,) = database.rows("select set_aside from public.job_payloads")
    assert words["set_aside"] == [{"field": "note", "reason": "unknown"}]
    jobs.reroute(job_id)
    assert "note" not in events(database, job_id)[-1].data["settings"]


def test_a_rerouted_job_queues_like_a_new_one(database: Database, jobs: Jobs, user: User) -> None:
    mine, theirs = user(), user()
    waiting = [submit(jobs, mine, "image_fast") for _ in range(3)]
    moved = submit(jobs, mine, "sdxl_image_fast")
    jobs.reroute(moved)
    other = submit(jobs, theirs, "image_fast")
    gpu = executor(jobs)
    order = [claim(jobs, gpu, lanes=["wan"]).job_id for _ in range(5)]
    assert [job_id for job_id in order if job_id != other] == [*waiting, moved]  # behind the user's own jobs,
    assert order.index(other) < order.index(moved)  # and not ahead of a user's first waiting job


# -- by the reaper ----------------------------------------------------------------------------------------------------------------


def test_automatic_reroute_is_off_by_default(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    job_id = submit(jobs, user())
    clock.advance(30 * 86_400)
    executor(jobs, lanes=["wan"])
    jobs.reap()
    assert row(database, job_id)["job_type"] == "sdxl_image_fast" and jobs.policy().reroute_after is None


def test_the_reaper_reroutes_jobs_of_lanes_without_executor(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    turn_on(database)
    stranded = {name: submit(jobs, user(), name) for name in FALLBACKS}
    stay = [
        submit(jobs, user(), settings={"images": 3}),
        submit(jobs, user(), settings={"references": STYLE}),
        submit(jobs, user(), "video_fast"),
    ]
    wan = executor(jobs, lanes=["wan"])
    clock.advance(AFTER - 1)
    jobs.heartbeat(wan)
    late = submit(jobs, user())
    jobs.reap()
    assert all(types(database, job_id) == ["submitted"] for job_id in [*stranded.values(), *stay, late])
    clock.advance(1)
    assert jobs.reap() == {"lapsed": 0, "timed_out": 0, "promoted": 0, "busy": False}
    for name, job_id in stranded.items():
        told = events(database, job_id)[-1]
        assert (told.type, told.actor, told.data["reason"]) == ("rerouted", "reaper", "no_executor")
        assert row(database, job_id)["job_type"] == FALLBACKS[name]
    assert all(types(database, job_id) == ["submitted"] for job_id in [*stay, late])
    assert {claim(jobs, wan).job_id for _ in range(4)} == {*stranded.values(), stay[2]}


def test_no_reroute_while_the_lane_has_an_executor(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    turn_on(database)
    job_id = submit(jobs, user())
    sdxl, wan = executor(jobs, "gpu0", ["sdxl"]), executor(jobs, "gpu1", ["wan"])

    def time_passes(seconds: float, *alive: str) -> None:
        clock.advance(seconds)
        for one in alive:
            jobs.heartbeat(one)
        jobs.reap()

    time_passes(10 * AFTER, sdxl, wan)
    assert types(database, job_id) == ["submitted"]
    time_passes(60, wan)  # sdxl's lease expired
    assert types(database, job_id) == ["submitted", "rerouted"]


def test_no_reroute_to_a_lane_without_executor(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    turn_on(database)
    job_id = submit(jobs, user())
    gone = executor(jobs, lanes=["wan"])
    clock.advance(AFTER)
    jobs.reap()  # finds the executor's lease expired
    assert types(database, job_id) == ["submitted"]
    jobs.drain(gone, done=True)
    executor(jobs, "gpu1", ["wan_vace"])
    jobs.reap()
    assert types(database, job_id) == ["submitted"]
    executor(jobs, "gpu2", ["wan"])
    jobs.reap()
    assert types(database, job_id) == ["submitted", "rerouted"]


def test_reroutes_are_batched_and_not_blocked_by_jobs_that_cannot_move(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    turn_on(database)
    owner = user("premium")
    stay = [submit(jobs, owner, settings={"images": 6}) for _ in range(4)]
    move = [submit(jobs, owner) for _ in range(5)]
    executor(jobs, lanes=["wan"])
    clock.advance(AFTER)
    database.rows("update ourvidz.executors set lease_until = ourvidz.now() + interval '1 day'")
    (moved,) = database.rows("select ourvidz.reroute_stranded(3) as n")
    assert moved["n"] == 3
    assert [types(database, job_id)[-1] for job_id in move] == ["rerouted"] * 3 + ["submitted"] * 2  # those that waited longest
    (moved,) = database.rows("select ourvidz.reroute_stranded(3) as n")
    assert moved["n"] == 2 and {types(database, job_id)[-1] for job_id in stay} == {"submitted"}


def test_the_reaper_skips_locked_jobs(database: Database, jobs: Jobs, user: User, clock: Clock) -> None:
    turn_on(database)
    locked, free = submit(jobs, user()), submit(jobs, user())
    clock.advance(AFTER)
    executor(jobs, lanes=["wan"])
    with database.driver() as connection, connection.transaction():
        connection.execute("select from public.jobs where id = %s for update", (locked,))
        jobs.reap()
        assert (types(database, locked)[-1], types(database, free)[-1]) == ("submitted", "rerouted")
    jobs.reap()
    assert types(database, locked)[-1] == "rerouted"


# -- the migration ----------------------------------------------------------------------------------------------------------------
