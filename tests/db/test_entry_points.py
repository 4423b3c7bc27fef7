"""One normaliser: the same request makes the same job through every entry point; settings that deployed senders always add are set
aside, and invalid ones are refused by field, alike everywhere."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from api import Api
from deployed_sender import deployed_message, deployed_row, deployed_types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sizes import size
from support import new_user, row

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs, NewJob
from state import client_names
from state.catalog import JOB_TYPES
from state.errors import InvalidJob, JobError, NotFound

User = Callable[..., str]
WAYS = ("rpc", "row", "redis", "cli", "import")
SAME = ("job_type", "settings", "prompt", "negative_prompt", "lane", "price", "references", "set_aside")
SIGNED = "https://abc.supabase.co/storage/v1/object/sign/{bucket}/{path}?token=eyJhbGciOi"


def normalised(database: Database, request: dict[str, Any], source: str) -> dict[str, Any]:
    (found,) = database.rows("select ourvidz.normalise(%s::jsonb, %s) as n", (json.dumps(request), source))
    made: dict[str, Any] = found["n"]
    return made


def by_way(source: str, user: str, job_type: str, said: dict[str, Any], prompt: str, negative: str | None) -> dict[str, Any]:
    """The request as a sender of this source writes it: in metadata if the source has no config."""
    if source == "redis":
        return {"id": str(uuid.uuid4()), "type": job_type, "prompt": prompt, "config": said, "user_id": user, "metadata": {},
                **({"negative_prompt": negative} if negative else {})}  # fmt: skip
    if source in ("row", "import"):
        return {
            "user_id": user,
            "job_type": job_type,
            "metadata": {**said, "prompt": prompt, **({"negative_prompt": negative} if negative else {})},
        }
    request = {"user_id": user, "job_type": job_type, "prompt": prompt, "negative_prompt": negative}
    return request | {"config" if source == "rpc" else "settings": said}


def outcome(database: Database, source: str, user: str, *request: Any) -> Any:
    try:
        made = normalised(database, by_way(source, user, *request), source)
    except JobError as refused:
        return type(refused).__name__, getattr(refused, "field", None)
    return {name: made[name] for name in SAME}


SAID = st.fixed_dictionaries({}, optional={
    "num_inference_steps": st.integers(-1, 90), "sample_steps": st.integers(1, 60), "guidance_scale": st.floats(0, 16) | st.integers(0, 16),
    "sample_guide_scale": st.sampled_from([6.5, 7.5, 99]), "num_images": st.integers(0, 7), "seed": st.integers(-1, 2**32),
    "sample_shift": st.sampled_from([0.5, 1, 5.0, 13]), "sample_solver": st.sampled_from(["unipc", "magic"]),
    "scheduler": st.sampled_from(["EulerDiscreteScheduler", "Magic"]), "strength": st.sampled_from([0.05, 0.1, 0.75, 1.0]),
    "frame_num": st.sampled_from([1, 80, 81, 83, 84, 85, "81"]),
    "size": st.sampled_from(["480*832", "832*480", "1024*1024", "1280*1280", "7*7", "1*"]),
    "reference_image_url": st.sampled_from(["image_fast/{me}/b.png", "{me}/b.png", "https://example.org/a.png", "blob:x", "nothing", 5,
                                            SIGNED.format(bucket="image_high", path="{me}/c.png"), "image_fast/{you}/b.png"]),
    "reference_type": st.sampled_from(["style", "mood"]), "reference_strength": st.sampled_from([0.05, 0.5]),
    "start_reference_url": st.just("video_fast/{me}/b.png"), "last_frame": st.just("video_fast/{me}/c.png"),
    "init_image": st.just("image_fast/{me}/d.png"), "reference_fallback": st.sampled_from([True, "yes"]),
    "on_enhance_failure": st.sampled_from(["fail", "cry"]), "compel_enabled": st.sampled_from([True, False, "yes"]),
    "compel_weights": st.sampled_from(["(fog:1.2)", "(fog:2.5)", 5]),
})  # fmt: skip


@pytest.fixture(scope="module")
def people(shared: Database) -> tuple[str, str]:
    return new_user(shared), new_user(shared)


@pytest.mark.sized
@settings(max_examples=size(50, 250), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job_type=st.sampled_from([*JOB_TYPES, *client_names.OLDER_TYPES]), said=SAID, negative=st.sampled_from([None, "fog", " fog "]))
def test_all_entry_points_make_the_same_job(
    shared: Database, people: tuple[str, str], job_type: str, said: dict[str, Any], negative: str | None
) -> None:
    me, you = people
    told = {k: v.format(me=me, you=you) if isinstance(v, str) and "{" in v else v for k, v in said.items()}
    first, *others = (outcome(shared, way, me, job_type, told, " a pier ", negative) for way in WAYS)
    assert all(other == first for other in others)
    if isinstance(first, dict):
        assert first["prompt"].startswith("a pier") and {aside["reason"] for aside in first["set_aside"]} <= set(client_names.REASONS)


# -- deployed senders -----------------------------------------------------------------------------------------------------------------


def test_every_type_of_the_deployed_sender_is_queued(database: Database, api: Api, user: User) -> None:
    """The deployed INSERT for all ten types, with and without references, then its message: it joins the row's job and changes nothing."""
    owner = user("premium")
    database.rows("update ourvidz.plans set submits_per_minute = 1000, unfinished = 1000")
    for job_type in deployed_types():
        for references in ("", "image", "video"):
            inserted = deployed_row(owner, job_type, references)
            columns = ", ".join(inserted)
            values = [json.dumps(v) if isinstance(v, dict) else v for v in inserted.values()]
            query = f"insert into public.jobs ({columns}) values ({', '.join(['%s'] * len(inserted))}) returning *"
            (made,) = api.rows("authenticated", owner, query, values)
            words = payload(database, made["id"])
            kind = JOB_TYPES[job_type]
            asked = words["settings"]
            assert (asked["width"], asked["height"]) == kind.sizes[0], job_type
            if kind.family == "sdxl":
                assert (asked["steps"], asked["guidance"], asked["images"]) == (kind.steps, kind.guidance, 3)
                assert not {"sampler", "shift"} & set(asked)
            else:
                assert (asked["steps"], asked["images"]) == (50 if "high" in job_type else 25, 1)
            message = deployed_message(inserted, str(made["id"]))
            (done,) = database.rows(
                "select ourvidz.intake(%s, %s::jsonb) as done", (kind.queue, json.dumps([{"message": message, "digest": "00" * 32}]))
            )
            assert done["done"] == [{"ord": 1, "outcome": "joined"}], (job_type, references)
            again = payload(database, made["id"])
            # Only the message says that 83 frames were requested for the video's 81.
            assert again["settings"] == asked | {"frames_asked": again["settings"]["frames_asked"]}
            assert row(database, str(made["id"]))["version"] == 1
            # Without the row, the message makes the same job.
            alone = normalised(database, message | {"id": str(uuid.uuid4())}, "redis")
            assert again["settings"] == alone["settings"]


def payload(database: Database, job_id: object) -> dict[str, Any]:
    (found,) = database.rows("select * from public.job_payloads where job_id = %s", (job_id,))
    return found


@pytest.mark.parametrize(
    ("job_type", "said", "settings", "aside"),
    [
        # Wan's names from older senders apply to SDXL too, unless the message also has settings that only Wan has.
        ("sdxl_image_fast", {"sample_steps": 25, "sample_guide_scale": 6}, {"steps": 25, "guidance": 6}, {}),
        ("sdxl_image_fast", {"sample_steps": 25, "sample_guide_scale": 6, "sample_solver": "unipc"}, {"steps": 15, "guidance": 6.0},
         {"sample_steps": "other_family", "sample_guide_scale": "other_family", "sample_solver": "other_family"}),
        ("sdxl_image_fast", {"sample_steps": 25, "num_inference_steps": 30, "sample_shift": 5.0}, {"steps": 30},
         {"sample_steps": "other_family", "sample_shift": "other_family"}),
        ("sdxl_image_fast", {"size": "480*832"}, {"width": 1024, "height": 1024}, {"size": "other_family"}),
        ("sdxl_image_fast", {"size": "832*1216"}, {"width": 832, "height": 1216}, {}),
        ("sdxl_image_fast", {"size": "480*832", "width": 832, "height": 1216}, {"width": 832, "height": 1216}, {"size": "other_family"}),
        ("sdxl_image_fast", {"first_frame": "a/b"}, {}, {"first_frame": "other_family"}),
        ("sdxl_image_fast", {"reference_type": "character", "reference_strength": 0.85}, {},
         {"reference_type": "no_reference", "reference_strength": "no_reference"}),
        ("video_fast", {"num_images": 6, "frame_num": 83}, {"images": 1, "frames": 81, "frames_asked": 83}, {"num_images": "other_family"}),
        ("image7b_fast_enhanced", {"num_images": 3}, {"images": 1}, {"num_images": "other_family"}),
        ("video_fast", {"reference_image_url": "{me}/a.png", "start_reference_url": "{me}/a.png"},
         {"references": {"first_frame": "reference_images/{me}/a.png"}}, {"reference_image_url": "first_and_last_win"}),
        ("video_fast", {"reference_image_url": "{me}/a.png", "reference_type": "character"},
         {"references": {"single": "reference_images/{me}/a.png"}}, {"reference_type": "other_family"}),
        ("image_high", {"reference_image_url": "{me}/a.png", "start_reference_url": "{me}/b.png", "last_frame": "{me}/c.png"},
         {"references": {"single": "reference_images/{me}/a.png"}}, {"start_reference_url": "one_frame", "last_frame": "one_frame"}),
        ("sdxl_img2img", {"reference_url": "{me}/a.png"}, {"references": {"init": "reference_images/{me}/a.png"}}, {}),
        ("sdxl_img2img", {"reference_image_url": "{me}/a.png", "init_image": "{me}/b.png"},
         {"references": {"init": "reference_images/{me}/b.png", "style": "reference_images/{me}/a.png"}}, {}),
        ("sdxl_image_fast", {"reference_image_url": "image_fast/{me}/a.png"}, {"references": {"style": "image_fast/{me}/a.png"}}, {}),
        ("sdxl_image_fast", {"reference_image_url": SIGNED.format(bucket="image_high", path="{me}/a%20b.png")},
         {"references": {"style": "image_high/{me}/a b.png"}}, {}),
        ("sdxl_image_fast", {"reference_image_url": "https://example.org/a.png"},
         {"references": {"style": "https://example.org/a.png"}}, {}),
        # All names of a scheduler are normalised to one.
        ("sdxl_image_fast", {"scheduler": "dpmpp_2m_sde_karras"}, {"scheduler": "DPM++ 2M SDE Karras"}, {}),
        ("sdxl_image_fast", {"scheduler": "EulerDiscreteScheduler", "sample_solver": "unipc"}, {"scheduler": "Euler"},
         {"sample_solver": "other_family"}),
        ("sdxl_image_high", {"sampler_name": "dpmpp_2m", "scheduler": "karras"}, {"scheduler": "DPM++ 2M Karras"}, {}),
        ("sdxl_image_high", {"sampler_name": "Euler A", "scheduler": "Normal"}, {"scheduler": "Euler a"}, {}),
        ("sdxl_img2img", {"sampler": "uni_pc", "init_image": "{me}/a.png"}, {"scheduler": "UniPC"}, {}),
        ("video_fast", {"sampler_name": "DPM++ 2M"}, {"sampler": "dpm++"}, {}),
        ("image_high", {"sample_solver": "UniPC"}, {"sampler": "unipc"}, {}),
    ],
)  # fmt: skip
def test_unused_settings_are_set_aside(
    shared: Database, people: tuple[str, str], job_type: str, said: dict[str, Any], settings: dict[str, Any], aside: dict[str, str]
) -> None:
    me = people[0]
    told = json.loads(json.dumps(said).replace("{me}", me))
    made = normalised(shared, by_way("redis", me, job_type, told, "a pier", None), "redis")
    assert made["settings"] | json.loads(json.dumps(settings).replace("{me}", me)) == made["settings"]
    assert {one["field"]: one["reason"] for one in made["set_aside"]} == aside


def test_config_overrides_metadata_and_unknown_names_are_set_aside(shared: Database, people: tuple[str, str]) -> None:
    request = {"user_id": people[0], "job_type": "sdxl_image_fast", "prompt": "a pier", "config": {"steps": 20, "beauty": "x", "task": "t"},
               "metadata": {"sample_steps": 30, "guidance": 5, "credits": 1, "task": "free"}}  # fmt: skip
    made = normalised(shared, request, "rpc")
    assert (made["settings"]["steps"], made["settings"]["guidance"]) == (20, 5)
    assert made["set_aside"] == [{"field": "beauty", "reason": "unknown"}, {"field": "task", "reason": "decided_by_type"}]
    me = people[0]
    request |= {"job_type": "video_fast", "config": {"first_frame": f"{me}/a.png"}, "metadata": {"start_reference_url": f"{me}/b.png"}}
    assert normalised(shared, request, "rpc")["references"] == {"first_frame": f"reference_images/{me}/a.png"}


@pytest.mark.parametrize(
    ("job_type", "said", "field"),
    [
        ("sdxl_image_fast", {"num_inference_steps": 0}, "steps"), ("sdxl_image_fast", {"num_inference_steps": 61}, "steps"),
        ("sdxl_image_fast", {"num_inference_steps": "25"}, "steps"), ("sdxl_image_fast", {"num_inference_steps": 25.5}, "steps"),
        ("sdxl_image_fast", {"num_inference_steps": True}, "steps"), ("sdxl_image_fast", {"guidance_scale": 0.9}, "guidance"),
        ("sdxl_image_fast", {"guidance_scale": [7]}, "guidance"), ("sdxl_image_fast", {"width": 999}, "size"),
        ("sdxl_image_fast", {"size": "1024"}, "size"), ("sdxl_image_fast", {"size": 1024}, "size"),
        ("sdxl_image_fast", {"num_images": 2}, "images"), ("sdxl_image_fast", {"seed": 2**32}, "seed"),
        ("sdxl_image_fast", {"scheduler": "Magic"}, "scheduler"), ("sdxl_image_fast", {"frame_num": 9}, "frames"),
        ("sdxl_image_fast", {"scheduler": "karras"}, "scheduler"), ("sdxl_image_fast", {"scheduler": ["DDIM"]}, "scheduler"),
        ("sdxl_image_fast", {"sampler_name": "DPM++ 2M", "scheduler": "beta57"}, "scheduler"),
        ("sdxl_image_fast", {"sampler_name": "magic", "scheduler": "karras"}, "scheduler"),
        ("sdxl_image_fast", {"strength": 0.5}, "strength"), ("image_fast", {"num_images": 3}, "images"),
        ("video_fast", {"num_images": 2}, "images"), ("video_fast", {"num_images": "3"}, "images"),
        ("video_fast", {"scheduler": "EulerDiscreteScheduler"}, "scheduler"), ("video_fast", {"sample_solver": "magic"}, "sampler"),
        ("video_fast", {"sample_shift": 13}, "shift"), ("sdxl_img2img", {}, "references"), ("poster", {}, "job_type"),
        ("sdxl_img2img", {"init_image": "{me}/a.png", "strength": 0.1, "steps": 5}, "steps"),
        ("sdxl_image_fast", {"reference_image_url": "https://example.org/\u00e9"}, "references"),
        ("sdxl_image_fast", {"compel_enabled": "yes"}, "compel_enabled"),
        ("sdxl_image_fast", {"compel_enabled": True, "compel_weights": 5}, "compel_weights"),
        ("sdxl_image_fast", {"compel_enabled": True, "compel_weights": "(fog:2.1)"}, "compel_weights"),
        ("sdxl_image_fast", {"compel_enabled": True, "compel_weights": "(fog)9"}, "compel_weights"),
        ("sdxl_image_fast", {"compel_enabled": True, "compel_weights": "x" * 3_999}, "compel_weights"),
    ],
)  # fmt: skip
def test_all_entry_points_refuse_invalid_settings_by_field(
    shared: Database, people: tuple[str, str], job_type: str, said: dict[str, Any], field: str
) -> None:
    told = json.loads(json.dumps(said).replace("{me}", people[0]))
    for way in WAYS:
        with pytest.raises(InvalidJob) as refused:
            normalised(shared, by_way(way, people[0], job_type, told, "a pier", None), way)
        assert refused.value.field == field, way


# -- references -----------------------------------------------------------------------------------------------------------------------


def upload(database: Database, owner: str, name: str, minutes_ago: int) -> None:
    database.rows("insert into storage.buckets (id, name) values ('reference_images', 'reference_images') on conflict do nothing")
    database.rows(
        "insert into storage.objects (bucket_id, name, created_at) values ('reference_images', %s, now() - make_interval(mins => %s))",
        (f"{owner}/{name}", minutes_ago),
    )


def test_a_blob_url_resolves_to_the_newest_upload(database: Database, user: User) -> None:
    me, you = user(), user()
    ask = {"user_id": me, "job_type": "sdxl_image_fast", "metadata": {"prompt": "a pier", "reference_url": "blob:https://x/1"}}
    upload(database, you, "1-ref.png", 0)
    none = normalised(database, ask, "row")
    assert none["references"] == {} and none["set_aside"] == [{"field": "reference_url", "reason": "upload_not_found"}]
    upload(database, me, "1-ref.png", 9)
    upload(database, me, "2-ref.png", 3)
    assert normalised(database, ask, "row")["references"] == {"style": f"reference_images/{me}/2-ref.png"}
    both = {"prompt": "x", "start_reference_url": "blob:1", "end_reference_url": "blob:2", "reference_image_url": "blob:1"}
    ask |= {"job_type": "video_fast", "metadata": both}
    ends = {"first_frame": f"reference_images/{me}/1-ref.png", "last_frame": f"reference_images/{me}/2-ref.png"}
    assert normalised(database, ask, "row")["references"] == ends


@pytest.mark.parametrize("address", ["image_fast/{you}/a.png", SIGNED.format(bucket="image_fast", path="{you}/a.png"),
                                     SIGNED.format(bucket="image_fast", path="{me}/..%2F{you}/a.png"), "image_fast/{me}/../{you}/a.png",
                                     "nowhere", "blob/{you}/a.png"])  # fmt: skip
def test_another_users_picture_is_missing_at_every_entry_point(shared: Database, people: tuple[str, str], address: str) -> None:
    me, you = people
    for way in WAYS:
        with pytest.raises(NotFound, match="reference picture"):
            normalised(shared, by_way(way, me, "video_fast", {"first_frame": address.format(me=me, you=you)}, "a pier", None), way)


# -- weights, legacy types, columns for the legacy front end ------------------------------------------------------------------------------


def test_weights_are_part_of_the_prompt(shared: Database, people: tuple[str, str]) -> None:
    said = {"compel_enabled": True, "compel_weights": "(sharp:1.3), (grain)0.7"}
    assert (
        normalised(shared, by_way("row", people[0], "sdxl_image_fast", said, "a pier", None), "row")["prompt"]
        == "a pier, (sharp:1.3), (grain)0.7"
    )
    message = by_way("redis", people[0], "sdxl_image_fast", {}, "a pier", None) | said
    made = normalised(shared, message, "redis")
    assert made["prompt"] == "a pier, (sharp:1.3), (grain)0.7" and made["metadata"] | said == made["metadata"]
    off = normalised(shared, by_way("row", people[0], "sdxl_image_fast", said | {"compel_enabled": False}, "a pier", None), "row")
    assert (off["prompt"], off["set_aside"]) == ("a pier", [{"field": "compel_weights", "reason": "not_enabled"}])
    wan = normalised(shared, by_way("row", people[0], "image_fast", said, "a pier", None), "row")
    assert wan["prompt"] == "a pier" and {"field": "compel_weights", "reason": "other_family"} in wan["set_aside"]


def test_a_message_adds_weights_to_its_row(database: Database, user: User) -> None:
    owner = user()
    insert = "insert into public.jobs (user_id, job_type, metadata, status) values (%s, 'sdxl_image_fast', %s, 'queued') returning id"
    (made,) = database.rows(insert, (owner, '{"prompt": "a pier"}'))
    message = {"id": str(made["id"]), "type": "sdxl_image_fast", "prompt": "another", "user_id": owner, "metadata": {},
               "config": {"size": "480*832"}, "compel_enabled": True, "compel_weights": "(fog:1.2)"}  # fmt: skip
    database.rows("select ourvidz.submit(%s::jsonb, 'redis')", (json.dumps(message),))
    words = payload(database, made["id"])
    assert (words["prompt"], words["metadata"]["compel_weights"]) == ("a pier, (fog:1.2)", "(fog:1.2)")
    assert words["set_aside"] == [{"field": "size", "reason": "other_family"}]


@pytest.mark.parametrize(
    ("older", "format", "quality", "today"),
    [("enhance", None, None, "image7b_fast_enhanced"),
     ("enhance", "video", "high", "video7b_high_enhanced"),
     ("preview", None, "high", "image_high"),
     ("preview", "video", None, "image_fast"), ("video", None, None, "video_fast"), ("video", None, "high", "video_high")],
)  # fmt: skip
def test_legacy_job_types_are_mapped(
    database: Database, user: User, older: str, format: str | None, quality: str | None, today: str
) -> None:
    owner = user()
    metadata = {name: value for name, value in (("format", format), ("quality", quality)) if value} | {"prompt": "a pier"}
    (made,) = database.rows("insert into public.jobs (user_id, job_type, metadata, status) values (%s, %s, %s, 'queued') returning *",
                            (owner, older, json.dumps(metadata)))  # fmt: skip
    assert (made["job_type"], made["model_type"]) == (today, today)
    words = payload(database, made["id"])
    assert words["metadata"]["asked_type"] == older and {"field": "job_type", "reason": "older_name"} in words["set_aside"]
    message = {"jobId": str(uuid.uuid4()), "jobType": older, "prompt": "a pier", "userId": owner, "metadata": metadata}
    (done,) = database.rows("select ourvidz.submit(%s::jsonb, 'redis') as done", (json.dumps(message),))
    assert (done["done"]["job_id"], done["done"]["job"]["job_type"]) == (message["jobId"], today)


def test_columns_for_the_legacy_front_end_are_set_at_all_entry_points(database: Database, jobs: Jobs, api: Api, user: User) -> None:
    owner = user("pro")
    reads = {"bucket": "sdxl_image_high", "prompt": "a pier", "num_images": 1, "model_variant": "lustify_sdxl", "model_type": "sdxl",
             "is_sdxl": True, "queue": "sdxl_queue"}  # fmt: skip
    ids = [jobs.submit(NewJob(owner, "sdxl_image_high", "a pier", metadata={"scene": 1})).id]
    for way in ("row", "redis", "rpc"):
        request = by_way(way, owner, "sdxl_image_high", {}, "a pier", None)
        request["metadata"] = {**request.get("metadata", {}), "scene": 1}
        (done,) = database.rows("select ourvidz.submit(%s::jsonb, %s) as done", (json.dumps(request), way))
        ids.append(done["done"]["job_id"])
    given = json.dumps({"prompt": "a pier", "scene": 1, "bucket": "my own"})
    query = (
        "insert into public.jobs (user_id, job_type, quality, metadata, status) "
        "values (%s, 'sdxl_image_high', 'best', %s, 'queued') returning *"
    )
    (plain,) = api.rows("authenticated", owner, query, (owner, given))
    assert plain == row(database, str(plain["id"]))
    assert plain["quality"] == "best" and plain["metadata"] == reads | plain["metadata"] | {"bucket": "my own", "scene": 1}
    for job_id in ids:
        found = row(database, job_id)
        said = (found["format"], found["quality"], found["model_type"], found["worker_type"])
        assert said == ("image", "high", "sdxl_image_high", "SDXL")
        assert found["metadata"] == found["metadata"] | reads | {"scene": 1}


# -- dry runs -------------------------------------------------------------------------------------------------------------------------


def test_a_dry_run_returns_the_result_and_writes_nothing(database: Database, api: Api, user: User) -> None:
    owner = user("pro", tokens=100)
    database.rows(
        "select ourvidz.submit(%s::jsonb, 'cli')", (json.dumps({"user_id": owner, "job_type": "video_fast", "prompt": "a pier"}),)
    )
    ask = by_way("redis", owner, "video_high", {"num_images": 3}, "a pier", None)
    with database.driver() as connection:
        connection.execute("begin read only")
        (tried,) = connection.execute("select ourvidz.submit(%s::jsonb, 'redis', true)", (json.dumps(ask),)).fetchone() or (None,)
        connection.execute("rollback")
    assert {name: tried[name] for name in ("job_type", "lane", "price", "balance", "position", "eta_seconds")} == {
        "job_type": "video_high", "lane": "wan", "price": 40, "balance": 80, "position": 2, "eta_seconds": None}  # fmt: skip
    assert tried["settings"]["steps"] == 50 and tried["set_aside"] == [{"field": "num_images", "reason": "other_family"}]
    (same,) = api.rows("authenticated", owner, "select public.queue_job('video_high', 'a pier', dry_run => true) as tried")
    assert (same["tried"]["price"], same["tried"]["position"]) == (40, 2)
    assert database.rows("select count(*) as n from public.jobs")[0]["n"] == 1


@pytest.mark.parametrize(
    ("who", "request_", "sqlstate"),
    [({"verified": False}, {}, "OV010"), ({"tokens": 39}, {}, "OV014"), ({}, {"config": {"steps": 81}}, "OV009"),
     ({}, {"prompt": " "}, "OV009"),
     ({}, {"job_type": "poster"}, "OV009"), ({}, {"project_id": str(uuid.UUID(int=1))}, "OV018")],
)  # fmt: skip
def test_a_dry_run_is_refused_as_the_job_would_be(
    database: Database, user: User, who: dict[str, Any], request_: dict[str, Any], sqlstate: str
) -> None:
    ask = {"user_id": user(**who), "job_type": "video_high", "prompt": "a pier"} | request_
    for dry in (True, False):
        with pytest.raises(JobError) as refused:
            database.rows("select ourvidz.submit(%s::jsonb, 'rpc', %s)", (json.dumps(ask), dry))
        assert refused.value.sqlstate == sqlstate


def test_a_dry_run_respects_the_plan_limits(database: Database, api: Api, user: User) -> None:
    owner = user()
    for _ in range(5):
        api.rows("authenticated", owner, "select public.queue_job('image_fast', 'a pier')")
    with pytest.raises(psycopg.Error) as refused:
        api.rows("authenticated", owner, "select public.queue_job('image_fast', 'a pier', dry_run => true)")
    assert refused.value.sqlstate == "OV015"


def test_an_unknown_entry_point_is_refused(shared: Database, people: tuple[str, str]) -> None:
    with pytest.raises(InvalidJob, match="no way in"):
        shared.rows("select ourvidz.submit('{}', 'pigeon')")


# -- the catalog --------------------------------------------------------------------------------------------------------------------------


def test_anyone_can_read_the_catalog(api: Api) -> None:
    (said,) = api.rows("anon", None, "select public.job_types() as types")
    types = {t["name"]: t for t in said["types"]}
    assert types.keys() == JOB_TYPES.keys()
    for name, kind in JOB_TYPES.items():
        one = types[name]
        assert (one["label"], one["family"], one["price"], one["bucket"], one["media_type"]) == (
            kind.label, kind.family, kind.price, name, kind.media_type)  # fmt: skip
        assert one["steps"] == {"min": 1, "max": kind.steps_max, "default": kind.steps} and one["sizes"] == [list(s) for s in kind.sizes]
        assert one["images"] == list(kind.images) and one["expected_seconds"] == round(kind.expected_seconds, 1)
