"""The database's copies of the Python tables equal them, and its arithmetic gives the same results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sizes import size

from ourvidz.db.connection import Database
from ourvidz.db.schema_files import limits
from state import catalog, client_names, errors, events, machine, policy, schedulers
from state.errors import InvalidJob


def test_transitions(database: Database) -> None:
    rows = database.rows("select * from ourvidz.transitions")
    assert {(r["event"], r["source"], r["target"], r["before"], r["after"], tuple(r["keys"])) for r in rows} == {
        (t.event, t.source, t.target, t.before, t.after, events.DATA_KEYS[t.event]) for t in machine.TRANSITIONS
    }
    assert len(rows) == len(machine.TRANSITIONS)


def test_event_types_and_their_keys(database: Database) -> None:
    found = {r["name"]: tuple(r["keys"]) for r in database.rows("select * from ourvidz.event_types")}
    assert found == {str(e): keys for e, keys in events.DATA_KEYS.items()}
    assert set(found) == set(machine.EventType)


def test_job_types(database: Database) -> None:
    found = {r["name"]: r for r in database.rows("select * from ourvidz.job_types")}
    assert list(found) == list(catalog.JOB_TYPES) and len(found) == 12
    for name, kind in catalog.JOB_TYPES.items():
        r = found[name]
        for column in ("family", "queue", "fast", "video", "enhance", "init_image", "time_limit", "price", "label", "expected_seconds"):
            assert r[column] == getattr(kind, column), (name, column)
        assert r["defaults"] == catalog.defaults(kind)
        assert r["fallback"] == policy.FALLBACKS.get(name)
        assert r["limits"] == json.loads(json.dumps(limits(kind)))


def test_wire_names_and_set_aside_rules(database: Database) -> None:
    assert database.rows("select * from ourvidz.wire_names order by n") == client_names.rows()
    assert database.rows('select * from ourvidz.set_aside_rules order by name collate "C"') == sorted(
        client_names.set_aside_rows(), key=lambda r: r["name"]
    )
    assert database.rows('select * from ourvidz.older_types order by name collate "C"') == sorted(
        client_names.older_type_rows(), key=lambda r: r["name"]
    )
    assert {r["reason"] for r in client_names.set_aside_rows()} <= set(client_names.REASONS)


def test_plans_and_policy(database: Database) -> None:
    assert {r.pop("name"): r for r in database.rows("select * from ourvidz.plans")} == {n: p.__dict__ for n, p in policy.PLANS.items()}
    (row,) = database.rows("select * from ourvidz.policy")
    assert row.pop("only_row") is True
    assert row == policy.settings()


def test_statuses_of_the_check_constraint(database: Database) -> None:
    (r,) = database.rows("select pg_get_constraintdef(oid) as text from pg_constraint where conname = 'jobs_status_check'")
    for status in machine.Status:
        assert f"'{status}'" in r["text"]
    assert r["text"].count("::text") >= len(machine.STATUSES)


def test_lane_of(database: Database) -> None:
    for kind in catalog.JOB_TYPES.values():
        for slots in ((), ("init",), ("style",), ("init", "style"), ("single",), ("first_frame", "last_frame")):
            references = dict.fromkeys(slots, "bucket/path")
            given = json.dumps({"references": references} if references else {})
            (r,) = database.rows("select ourvidz.lane_of(%s, %s::jsonb) as lane", (kind.family, given))
            assert r["lane"] == catalog.lane_of(kind, references), (kind.name, slots)
            assert r["lane"] in catalog.LANES


@pytest.mark.parametrize("failures", range(1, 8))
def test_backoff_lies_within_its_jitter(database: Database, failures: int) -> None:
    drawn = [
        r["s"] for r in database.rows(
            "select extract(epoch from ourvidz.backoff(%s))::float8 as s from generate_series(1, 200)", (failures,)
        )
    ]  # fmt: skip
    longest = policy.backoff(failures)
    shortest = longest * (1 - policy.POLICY.backoff_jitter)
    assert shortest - 0.001 <= min(drawn) and max(drawn) <= longest + 0.001
    assert max(drawn) - min(drawn) > (longest - shortest) / 2  # random, not fixed


def test_head_start(database: Database) -> None:
    for priority in range(8):
        assert database.rows("select ourvidz.priority_offset(%s) as h", (priority,))[0]["h"] == policy.head_start(priority)


def test_scheduler_keys_are_equal_in_python_and_sql(shared: Database) -> None:
    told = [name for rows in schedulers.OF.values() for row in rows for name in (row.name, *row.also)]
    told += ["", "DPM++_2m-Karras", "  euler\tA ", "Ünipc", "x" * 90]
    keys = shared.rows(
        "select ourvidz.scheduler_key(name) as key from unnest(%s::text[]) with ordinality as t (name, n) order by n", (told,)
    )
    assert [row["key"] for row in keys] == [schedulers.key(name) for name in told]


def test_old_scheduler_names_are_accepted(shared: Database) -> None:
    asked = {"steps": 15, "guidance": 6, "width": 1024, "height": 1024, "scheduler": "EulerAncestralDiscreteScheduler"}
    check = "select ourvidz.check_settings(name, %s::jsonb, limits) from ourvidz.job_types where name = 'sdxl_image_fast'"
    shared.rows(check, (json.dumps(asked),))
    with pytest.raises(InvalidJob, match=r"scheduler must be one of Euler, Euler Karras, .*LMS.*UniPC Karras for a sdxl_image_fast"):
        shared.rows(check, (json.dumps(asked | {"scheduler": "Magic"}),))


ODD = [None, True, False, 0, 1, -1, 1.0, 1.5, "1", "", [], {}, 10**12, 1e300]
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "steps": st.integers(-1, 90) | st.floats(0, 90, allow_nan=False),
    "guidance": st.floats(0, 16, allow_nan=False) | st.integers(0, 16),
    "seed": st.integers(-1, 2**32),
    "images": st.integers(0, 7),
    "fps": st.sampled_from([15, 16, 16.0]),
    "strength": st.floats(0, 1.2, allow_nan=False),
    "reference_strength": st.floats(0, 1.2, allow_nan=False),
    "reference_type": st.sampled_from([*catalog.REFERENCE_TYPES, "face"]),
    "reference_fallback": st.booleans(),
    "on_enhance_failure": st.sampled_from(["continue", "fail", "panic"]),
    "shift": st.floats(0, 13, allow_nan=False),
    "sampler": st.sampled_from([*(row.name for row in schedulers.WAN), "ddim"]),
    "scheduler": st.sampled_from([*(row.name for row in schedulers.SDXL), "Magic"]),
}
SIZES = st.sampled_from([*catalog.PREMIUM_SIZES, *catalog.WAN_SIZES, (1024, 1280), (1024.0, 1024.0), ("1024", "1024")])


@st.composite
def asked(draw: st.DrawFn) -> tuple[catalog.JobType, dict[str, Any]]:
    kind = draw(st.sampled_from(list(catalog.JOB_TYPES.values())))
    fields = draw(st.lists(st.sampled_from(list(FIELDS)), max_size=3, unique=True))
    want = {name: draw(FIELDS[name] | st.sampled_from(ODD)) for name in fields}
    if draw(st.booleans()):
        want["width"], want["height"] = draw(SIZES)
    references = {"init": "b/p"} if kind.init_image else {}
    if draw(st.booleans()):
        references["style" if kind.family == "sdxl" else "single"] = "b/p"
    return kind, {k: v for k, v in want.items() if v is not None} | ({"references": references} if references else {})


@pytest.mark.sized
@settings(max_examples=size(50, 250), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked())
def test_python_and_sql_agree_on_the_limits(shared: Database, job: tuple[catalog.JobType, dict[str, Any]]) -> None:
    kind, want = job
    try:
        shared.rows(
            "select ourvidz.check_settings(name, defaults || %s::jsonb, limits) from ourvidz.job_types where name = %s",
            (json.dumps(want), kind.name),
        )
    except InvalidJob as refused:
        assert refused.field in {*FIELDS, "size"}, refused
        return
    given = {**want, **({"size": [want["width"], want["height"]]} if "width" in want else {})}
    for name, limit in limits(kind).items():
        if name not in given:
            continue
        value, numbers = given[name], not isinstance(limit, dict)
        assert (limit[0] <= value <= limit[1] if numbers else value in limit["in"]) and (not numbers or not isinstance(value, bool)), name
        assert not (numbers and len(limit) == 3) or isinstance(value, int), name


def test_refusal_codes_are_unique() -> None:
    """With a shared SQLSTATE, callers could not tell two refusals apart."""
    leaves = [leaf for leaf in errors.JobError.__subclasses__() if leaf.__module__ == errors.__name__]
    assert len({leaf.sqlstate for leaf in leaves}) == len({leaf.code for leaf in leaves}) == len(leaves)
