"""Analysts can read no user text, and an erasure leaves none: a marker is planted in every place where each role can write.

The places come from the catalog: every column that a role may write, every text argument of each function it may call, and each key of each
event. Whether a write succeeds does not matter; what an analyst can read afterwards does.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api import Api, api_of
from hypothesis import given, settings
from hypothesis import strategies as st
from planting import MARK, Planter, holding
from sizes import size
from support import LANES, Permissive, Server, artifact, new_user, submit

from ourvidz.db.connection import Database
from ourvidz.erasure import Eraser
from ourvidz.lifecycle import Jobs
from ourvidz.safety.rules import TERMS, load_rules
from ourvidz.storage.folder import FolderStore
from state import kinds
from state.catalog import BUCKETS
from state.errors import BrokenChain
from state.machine import EventType
from tools.docs import ROOT

KNOWN: dict[str, Any] = {
    "id": str(uuid.UUID(int=7)), "job_type": "image_fast", "jsonb": "{}", "integer": 1, "text": "x", "boolean": True, "sha256": "c3" * 32,
    "digest": "c3" * 32, "metadata": json.dumps({"prompt": "a lighthouse"}), "prompt": "a lighthouse", "title": "x", "media_type": "image",
    "original_prompt": "x", "generation_mode": "standalone", "status": "queued", "p_queue": "sdxl_queue", "p_digest": "c3" * 32,
    "timestamp with time zone": "2025-07-07", "scene_number": 1, "description": "x",
}  # fmt: skip
"""Values that make a call plausible, by name of argument or column, else by type."""


def project(database: Database, user: str) -> str:
    sql = "insert into public.projects (user_id, original_prompt, media_type) values (%s, 'x', 'video') returning id::text"
    return str(database.rows(sql, (user,))[0]["id"])


class Planted:
    """A database after every role has planted the marker wherever it can. `places`: where the superuser then finds it."""

    def __init__(self, api: Api, stolen: Api, database: Database, jobs: Jobs) -> None:
        self.api, self.stolen, self.database, self.user = api, stolen, database, new_user(database, "premium")
        self.job = submit(jobs, self.user, "sdxl_image_fast", prompt=f"a {MARK}", metadata={"note": MARK}, idempotency_key=MARK)
        known = KNOWN | {
            "user_id": self.user,
            "p_user": self.user,
            "uuid": self.user,
            "job_id": self.job,
            "project_id": project(database, self.user),
        }
        self.planters = [
            Planter(api, "anon", None, known),
            Planter(api, "authenticated", self.user, known),
            Planter(api, "service_role", None, known),
            Planter(api, "authenticated", new_user(database), known, admin=True),
        ]
        for planter in self.planters:
            planter.everywhere()
        submit(jobs, self.user, "sdxl_image_fast")
        self.planters.append(self._executor(known))
        self.places = holding(api, None)

    def _executor(self, known: dict[str, Any]) -> Planter:
        """A stolen executor login with a claim of its own."""
        thief = Planter(self.stolen, "ourvidz_executor", None, known)
        thief.call("select ourvidz.register(%(m)s, %(m)s, 1, array[%(m)s])", {"m": MARK})
        me = thief.call(
            "select ourvidz.register(%(m)s, %(m)s, 1, %(lanes)s, jsonb_build_object('x', %(m)s::text))", {"m": MARK, "lanes": list(LANES)}
        )
        thief.call(
            "select ourvidz.heartbeat(%(me)s, array[%(m)s], array[%(m)s], jsonb_build_object('x', %(m)s::text))", {"me": me, "m": MARK}
        )
        # A marker kept in its lanes must not prevent the claim: the remaining writes are tried too.
        thief.call("select ourvidz.heartbeat(%(me)s, '{}', %(lanes)s)", {"me": me, "lanes": list(LANES)})
        with self.stolen.request(None) as cursor:
            claimed = cursor.execute("select * from ourvidz.claim(%s)", (me,)).fetchone()
        assert claimed is not None
        known |= {"p_executor": me, "p_job": claimed["job_id"], "p_claim": claimed["claim_no"], "p_token": claimed["token"]}
        held = {"job": claimed["job_id"], "claim": claimed["claim_no"], "token": claimed["token"], "m": MARK}
        for event, keys in kinds.EVENT_DATA.items():
            for key in keys:
                thief.call(
                    "select ourvidz.advance(%(job)s, %(claim)s, %(token)s, %(event)s, jsonb_build_object(%(key)s::text, %(m)s::text))",
                    held | {"event": str(event), "key": key},
                )
        thief.call("select ourvidz.advance(%(job)s, %(claim)s, %(token)s, 'generation_started')", held)
        made = artifact(_Held(claimed))
        folder, _, _ = made["path"].rpartition("/")
        for more in ({"media_type": MARK}, {"kind": MARK}, {"path": f"{folder}/{MARK}.png", "spool": MARK, "metadata": {MARK: MARK}}):
            thief.call("select ourvidz.artifact_generated(%(job)s, %(claim)s, %(token)s, %(a)s)", held | {"a": json.dumps(made | more)})
        thief.everywhere()
        verdict = json.dumps({"category": MARK, "policy_version": MARK, "rule_id": MARK, "stage": "prompt"})
        thief.call("select ourvidz.fail(%(job)s, %(claim)s, %(token)s, %(m)s, %(m)s, true, true, %(v)s)", held | {"v": verdict})
        return thief


class _Held:
    def __init__(self, claimed: dict[str, Any]) -> None:
        self.job_id, self.user_id, self.claim_no, self.job_type = (claimed[k] for k in ("job_id", "user_id", "claim_no", "job_type"))


@pytest.fixture(scope="module")
def planted(server: Server, template: str) -> Iterator[Planted]:
    name = server.create(template)
    database = Database(server.url(name))
    with api_of(server, name) as api, api_of(server, name) as stolen:
        login = f"executor_of_{name}"
        stolen.connection.execute(f"create role {login} in role ourvidz_executor")
        stolen.connection.execute(f"set session authorization {login}")
        yield Planted(api, stolen, database, Jobs(database, Permissive()))
        stolen.connection.execute("reset session authorization")
        stolen.connection.execute(f"drop role {login}")
    database.close()
    server.drop(name)


def test_the_marker_was_planted(planted: Planted) -> None:
    """Otherwise the other tests prove nothing: it is in many tables, from every role that can write."""
    assert {"public.jobs", "public.job_payloads", "public.artifacts", "public.characters", "public.images", "ourvidz.executors",
            "public.system_config"} <= planted.places, sorted(planted.places)  # fmt: skip
    taken = {planter.role + ("/admin" if planter.admin else ""): planter.taken for planter in planted.planters}
    assert all(taken[role] >= least for role, least in (("authenticated", 20), ("service_role", 5), ("authenticated/admin", 15))), taken
    assert taken["ourvidz_executor"] >= 5, taken


def test_an_analyst_cannot_read_the_marker(planted: Planted) -> None:
    assert holding(planted.api, "ourvidz_analyst") == set()


def test_events_do_not_contain_the_marker(planted: Planted) -> None:
    """Events cannot be erased."""
    assert not {"public.job_events", "ourvidz.screenings", "ourvidz.token_entries"} & planted.places


def test_an_erasure_leaves_nothing_of_what_the_user_planted(
    database: Database, server: Server, database_name: str, jobs: Jobs, tmp_path: Path
) -> None:
    with api_of(server, database_name) as api:
        me = new_user(database, "premium")
        submit(jobs, me, prompt=f"a {MARK}", negative_prompt=f"no {MARK}", metadata={"note": MARK}, idempotency_key=MARK)
        known = KNOWN | {"user_id": me, "uuid": me, "project_id": project(database, me)}
        Planter(api, "authenticated", me, known).everywhere()
        assert len(holding(api, None)) > 5
        store = FolderStore(tmp_path / "storage", BUCKETS)
        (tmp_path / "spool").mkdir()
        Eraser(jobs, store, tmp_path / "spool").erase(me, by="test", timeout_s=60)
        assert holding(api, None) == set()


@pytest.mark.parametrize(("event", "key"), [(event, key) for event in EventType for key in kinds.EVENT_DATA[event]])
def test_event_keys_accept_no_free_text(planted: Planted, event: EventType, key: str) -> None:
    for value in (MARK, f"a {MARK} at dusk", [MARK], {"note": MARK}, {MARK: 1}):
        if key == "executor" and value == MARK:
            continue  # allowed for the database's owner; for a stolen login see test_an_analyst_cannot_read_the_marker
        if (event, key) == (EventType.IMPORTED, "job_type") and value == MARK:
            continue  # from the legacy system's table, by the migration
        (found,) = planted.database.rows("select ourvidz.invalid_keys(%s, %s::jsonb) as keys", (str(event), json.dumps({key: value})))
        assert found["keys"] == (
            [key] if not (isinstance(value, dict) and MARK in value and key == "settings" and value == {MARK: 1}) else []
        ), value


def test_events_by_the_owner_are_checked_too(planted: Planted) -> None:
    job_id = submit(Jobs(planted.database, Permissive()), new_user(planted.database))
    with pytest.raises(BrokenChain) as refused:
        planted.database.rows(
            "select ourvidz.append(array[%s]::uuid[], 'cancelled', array[%s::jsonb], 'person')", (job_id, json.dumps({"reason": MARK}))
        )
    assert "reason" in str(refused.value) and MARK not in str(refused.value)


def test_unknown_refusal_reasons_are_recorded_as_other(database: Database) -> None:
    """The refusal stays on record, without the sender's text."""
    record = {"outcome": "refused", "message_id": str(uuid.UUID(int=7)), "digest": "c3" * 32, "reason": MARK, "field": f"{MARK}.{MARK}"}
    database.rows("select ourvidz.intake_record('sdxl_queue', %s::jsonb)", (json.dumps([record]),))
    assert database.rows("select outcome, reason, field from ourvidz.intake_messages") == [
        {"outcome": "refused", "reason": "other", "field": "other"}
    ]


FITTING = [
    "cpu",
    "NVIDIA H200",
    "2025-07-07T12:00:00+00:00",
    "en/word",
    "2025-08+ef3b85f7",
    "c3" * 32,
    str(uuid.UUID(int=7)),
    "unipc",
    "gpu0",
]
SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("ab-1é\n ", max_size=6) | st.sampled_from(FITTING)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3), max_leaves=4
)
EVERY_KIND = [kind for row in (*kinds.EVENT_DATA.values(), *kinds.COLUMNS.values()) for kind in row.values()]


@pytest.mark.sized
@settings(max_examples=size(30, 150))
@given(VALUES, st.sampled_from(EVERY_KIND))
def test_python_and_sql_agree_on_event_values(planted: Planted, value: Any, kind: kinds.Kind) -> None:
    (found,) = planted.database.rows("select ourvidz.matches_kind(%s::jsonb, %s::jsonb) as fits", (json.dumps(value), json.dumps(kind)))
    assert found["fits"] == kinds.fits(value, kind)


def test_every_lexical_rule_id_is_accepted() -> None:
    rules = load_rules(TERMS)
    ids = {rule for means in rules.meanings.values() for rule in means if "/" in rule} | {p.rule_id for p in rules.patterns}
    ids |= {*rules.inside.values(), *rules.stems.values(), *rules.exact.values()}
    assert [rule for rule in sorted(ids) if not kinds.fits(rule, kinds.RULE)] == []
    assert kinds.fits(rules.policy_version, kinds.POLICY_VERSION) and rules.category in kinds.CATEGORIES


def test_every_class_of_error_is_listed() -> None:
    """A failure with an unlisted class would be recorded as `unexpected`."""
    import executors.errors
    import executors.provenance
    import ourvidz.safety.screen
    import ourvidz.storage.base

    found = set()
    for base in (executors.errors.ExecutorError, ourvidz.storage.base.StorageError, ourvidz.safety.screen.ScreenUnavailable):
        todo = [base]
        while todo:
            leaf = todo.pop()
            todo += leaf.__subclasses__()
            found |= {leaf.error_class} if leaf.__module__.startswith(("executors", "ourvidz")) else set()
    named = "".join(path.read_text() for path in (ROOT / "executors").rglob("*.py"))
    found |= set(re.findall(r"[.]fail[(][\w.]+, \"(\w+)\"", named))
    assert {"stalled", "refused_content", "out_of_memory"} <= found <= set(kinds.ERROR_CLASSES)
