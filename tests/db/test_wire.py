"""The names on the wire mean the same in Python and in the database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ourvidz.db.connection import Database
from state import wire
from state.catalog import JOB_TYPES
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


def _sql(database: Database, *given: Any) -> Any:
    (row,) = database.rows("select ourvidz.wire_settings(%s, %s::jsonb, %s::jsonb) as s", (given[0], *map(json.dumps, given[1:])))
    found: dict[str, Any] = row["s"]
    if "frames_asked" in found:  # here settled at once, in Python by resolve()
        assert found["frames"] == (found["frames_asked"] - 1) // 4 * 4 + 1
        found["frames"] = found.pop("frames_asked")
    return found


def _outcome(ask: Any) -> Any:
    try:
        return ask()
    except InvalidJob as refused:
        return refused.field
