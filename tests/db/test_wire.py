"""The names on the wire mean the same in Python and in the database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ourvidz.db.connection import Database
from state import wire
from state.catalog import JOB_TYPES, resolve
from state.errors import InvalidJob

NAMES = sorted({*wire.NAMES, *wire.REFERENCES["sdxl"], *wire.REFERENCES["wan"], *wire.IGNORED})
VALUES = st.none() | st.booleans() | st.integers(-5, 2000) | st.sampled_from([7.5, "480*832", "1*", "x" * 9, "832*480*1", "a/b"])
SAID = st.dictionaries(st.sampled_from([*NAMES, "beauty"]), VALUES, max_size=6)


def test_the_copy(database: Database) -> None:
    assert database.rows("select * from ourvidz.wire_names order by n") == wire.rows()
    assert database.rows("select ourvidz.wire_ignored() as names") == [{"names": list(wire.IGNORED)}]


@pytest.mark.parametrize(
    ("job_type", "config", "metadata", "settings"),
    [
        ("sdxl_image_fast", {"num_inference_steps": 25, "guidance_scale": 7.5, "num_images": 6}, {},
         {"steps": 25, "guidance": 7.5, "images": 6}),
        ("sdxl_image_fast", {"sample_steps": 25, "sample_guide_scale": 6, "size": "832*1216"}, {},
         {"steps": 25, "guidance": 6, "width": 832, "height": 1216}),
        ("video_fast", {"frame_num": 83, "sample_shift": 5.0, "sample_solver": "unipc", "size": "480*832"}, {},
         {"frames": 83, "shift": 5.0, "sampler": "unipc", "width": 480, "height": 832}),
        ("video_fast", {"first_frame": "a/1"}, {"start_reference_url": "a/2", "end_reference_url": "a/3"},
         {"references": {"first_frame": "a/1", "last_frame": "a/3"}}),
        ("sdxl_img2img", {"reference_image_url": "a/1"}, {}, {"references": {"init": "a/1"}}),
        ("sdxl_image_high", {"reference_image_url": "a/1", "seed": None}, {"seed": 9}, {"seed": 9, "references": {"style": "a/1"}}),
    ],
)  # fmt: skip
def test_what_senders_say(database: Database, job_type: str, config: Any, metadata: Any, settings: Any) -> None:
    assert wire.settings(job_type, config, metadata) == settings == _sql(database, job_type, config, metadata)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job_type=st.sampled_from(list(JOB_TYPES)), config=SAID, metadata=SAID)
def test_both_read_alike(shared: Database, job_type: str, config: dict[str, Any], metadata: dict[str, Any]) -> None:
    assert _outcome(lambda: wire.settings(job_type, config, metadata)) == _outcome(lambda: _sql(shared, job_type, config, metadata))


ASKED = st.fixed_dictionaries({}, optional={
    "num_inference_steps": st.integers(-1, 90), "guidance_scale": st.floats(0, 16) | st.integers(0, 16), "num_images": st.integers(0, 7),
    "seed": st.integers(-1, 2**32), "sample_shift": st.sampled_from([0.5, 1, 5.0, 13]),
    "sample_solver": st.sampled_from(["unipc", "magic"]),
    "scheduler": st.sampled_from(["EulerDiscreteScheduler", "Magic"]),
    "strength": st.sampled_from([0.05, 0.1, 0.75, 1.0]),
    "frame_num": st.sampled_from([1, 80, 81, 83, 84, 85]), "size": st.sampled_from(["480*832", "832*480", "1024*1024", "1280*1280", "7*7"]),
    "reference_image_url": st.sampled_from(["a/b.png", "https://example.org/a.png", "nothing", 5]),
    "reference_type": st.sampled_from(["style", "mood"]),
    "reference_strength": st.sampled_from([0.05, 0.5]), "first_frame": st.just("a/b.png"), "last_frame": st.just("a/c.png"),
    "init_image": st.just("a/d.png"), "reference_fallback": st.sampled_from([True, "yes"]),
    "on_enhance_failure": st.sampled_from(["fail", "cry"]),
})  # fmt: skip


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job_type=st.sampled_from(list(JOB_TYPES)), config=ASKED)
def test_a_job_asked_for_in_sql_is_the_one_that_python_makes(shared: Database, job_type: str, config: dict[str, Any]) -> None:
    """Whole settings, or a refusal: the rpc, the plain INSERT and the intake come to the same."""
    assert _outcome(lambda: _whole(job_type, config), "refused") == _outcome(lambda: _whole_sql(shared, job_type, config), "refused")


def _whole(job_type: str, config: dict[str, Any]) -> Any:
    return json.loads(json.dumps(resolve(job_type, wire.settings(job_type, config, {})).as_dict()))


def _whole_sql(database: Database, job_type: str, config: dict[str, Any]) -> Any:
    sql = """select s.settings, ourvidz.check_references(k, coalesce(s.settings->'references', '{}')),
                    ourvidz.check_settings(k.name, s.settings, k.limits)
             from ourvidz.job_types as k
             cross join lateral ourvidz.whole_settings(k, ourvidz.wire_settings(k.name, %s::jsonb, '{}')) as s (settings)
             where k.name = %s"""
    return database.rows(sql, (json.dumps(config), job_type))[0]["settings"]


def _sql(database: Database, *given: Any) -> Any:
    (row,) = database.rows("select ourvidz.wire_settings(%s, %s::jsonb, %s::jsonb) as s", (given[0], *map(json.dumps, given[1:])))
    found: dict[str, Any] = row["s"]
    if "frames_asked" in found:  # here settled at once, in Python by resolve()
        assert found["frames"] == (found["frames_asked"] - 1) // 4 * 4 + 1
        found["frames"] = found.pop("frames_asked")
    return found


def _outcome(ask: Any, word: str = "") -> Any:
    try:
        return ask()
    except InvalidJob as refused:
        return word or refused.field
