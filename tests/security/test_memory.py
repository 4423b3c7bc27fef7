"""Attacks on the server's memory, CPU and disk by one small request: values that are larger rendered than sent (jsonb keeps `1e131000`
in six bytes and prints 131,000), endless bodies, nesting, a PATCH that writes its body to every row, casts of stored text. All functions
that PostgREST offers, their arguments, and all columns that a user may write come from the catalog."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from costs import Caller, Cost, arguments, call, insert
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size
from support import Server, new_user

from ourvidz.db.connection import Database
from state.bounds import COST

Project = Any
SECONDS, MEGABYTES, WAL = COST.seconds, COST.megabytes, COST.wal_megabytes * 2**20

MANY = "[" + ",".join(["1e131000"] * 2_000) + "]"  # 18 kB
BOMBS = {
    "large numbers": MANY,
    "small numbers": "[" + ",".join(["1e-16383"] * 2_000) + "]",
    "zeros with many places": "[" + ",".join(["0e-16383"] * 2_000) + "]",
    "in an object": json.dumps({"a": 0}).replace("0", MANY),
    "far down": "[" * 15 + MANY + "]" * 15,
    "one": "1e131000",
    "in text": json.dumps(MANY),
    "in text in an object": json.dumps({"a": MANY}),
    "a number in text": json.dumps("1e131000"),
    "nesting": "[" * 100_000 + "]" * 100_000,
    "open nesting": "[" * 200_000,
    "one key many times": "{" + ",".join(['"a":1'] * 40_000) + "}",
    "many keys": "{" + ",".join(f'"{n}":1' for n in range(20_000)) + "}",
    "control characters": json.dumps("\u0001" * 30_000),
    "half a pair": '"\\ud800"',
    "nul": '"a\\u0000b"',
    "long text": json.dumps("x" * 250_000),
    "an array": json.dumps(["x"] * 60_000),
}


TEXT = ("large numbers", "one", "in text", "control characters", "half a pair", "long text", "nul", "many keys")
OTHER = ("one", "long text")


def bombs(kind: str) -> list[tuple[str, str]]:
    """The bombs that can affect a value of this type."""
    names = list(BOMBS) if kind in ("json", "jsonb") else TEXT if "text" in kind or "char" in kind or kind.endswith("[]") else OTHER
    return [(name, BOMBS[name]) for name in names]


def affordable(cost: Cost, what: object) -> None:
    assert cost.megabytes < MEGABYTES and cost.seconds < SECONDS and cost.wal < WAL, (what, cost)
    assert cost.refused is None or not cost.refused.startswith("XX"), (what, cost)


@pytest.fixture(scope="module")
def site(server: Server, template: str) -> Iterator[tuple[Database, str]]:
    name = server.create(template)
    database = Database(server.url(name))
    yield database, server.url(name, superuser=True)
    database.close()
    server.drop(name)


@pytest.fixture(scope="module")
def me(site: tuple[Database, str]) -> Caller:
    """An unverified user: such an account costs nothing."""
    return Caller(site[1], new_user(site[0], verified=False))


@pytest.fixture(scope="module")
def functions(site: tuple[Database, str]) -> dict[str, dict[str, str]]:
    with psycopg.connect(site[1]) as connection:
        return arguments(connection, "anon") | arguments(connection, "authenticated")


def test_large_numbers_are_refused_cheaply(site: tuple[Database, str], me: Caller) -> None:
    """784 MB and 3 s before: by rpc, by a plain INSERT and through a usage line."""
    rpc = call("queue_job", {"job_type": "text", "prompt": "text", "metadata": "jsonb", "config": "jsonb"})
    ask = {"job_type": "sdxl_image_fast", "prompt": "a lighthouse"}
    for verified in (me, Caller(site[1], new_user(site[0]))):
        for part in ("metadata", "config"):
            cost = verified.ask(rpc, json.dumps(ask)[:-1] + f', "{part}": {{"a": {MANY}}}}}')
            affordable(cost, part)
            assert (cost.refused, part in cost.said) == ("OV009", True), cost
        for relation, columns, row in (
            ("public.jobs", ["user_id", "job_type", "status", "metadata"], {"job_type": "sdxl_image_fast", "status": "queued"}),
            ("public.usage_logs", ["user_id", "action", "metadata"], {"action": "x"}),
            ("public.images", ["user_id", "prompt", "metadata"], {"prompt": "x"}),
        ):
            body = json.dumps(row | {"user_id": verified.user})[:-1] + f', "metadata": {{"a": {MANY}}}}}'
            cost = verified.ask(insert(relation, columns), f"[{body}]")
            affordable(cost, relation)
            assert cost.refused == "OV009", cost


def valid(kind: str, name: str) -> str:
    if kind == "uuid":
        return json.dumps(str(uuid.UUID(int=7)))
    return {"jsonb": "{}", "json": "{}", "boolean": "true", "integer": "1", "bigint": "1"}.get(
        kind, json.dumps("sdxl_image_fast" if name == "job_type" else "x")
    )


def test_bombs_in_every_argument_are_affordable(me: Caller, functions: dict[str, dict[str, str]]) -> None:
    assert {"queue_job", "ask_enhancement", "report_refusal", "attest_consent", "has_role"} <= set(functions)
    nobody = Caller(me.url, None, "anon")
    for name, kinds in functions.items():
        for argument in kinds:
            for what, bomb in bombs(kinds[argument]):
                fields = {a: valid(kind, a) for a, kind in kinds.items()} | {argument: bomb}
                body = "{" + ",".join(f'"{a}":{value}' for a, value in fields.items()) + "}"
                affordable(me.ask(call(name, kinds), body), (name, argument, what))
        affordable(nobody.ask(call(name, kinds), "{}"), name)


def columns(url: str, verb: str) -> dict[str, dict[str, str]]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            """select a.attrelid::regclass::text, a.attname, format_type(a.atttypid, null)
               from pg_attribute as a join pg_class as c on c.oid = a.attrelid
               where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
                 and has_column_privilege('authenticated', c.oid, a.attnum, %s)""",
            (verb,),
        ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for relation, column, kind in rows:
        found.setdefault(f"public.{relation}".replace("public.public.", "public."), {})[column] = kind
    return found


def test_bombs_in_every_writable_column_are_affordable(me: Caller) -> None:
    tables = columns(me.url, "insert")
    assert {"public.jobs", "public.images", "public.projects", "public.characters", "public.scenes", "public.usage_logs"} <= set(tables)
    for relation, kinds in tables.items():
        for column in kinds:
            for what, bomb in bombs(kinds[column]):
                body = (
                    "[{" + ",".join(f'"{c}":{v}' for c, v in {"user_id": json.dumps(me.user), "prompt": '"x"', column: bomb}.items()) + "}]"
                )
                affordable(
                    me.ask(insert(relation, sorted({*kinds} & {"user_id", "prompt", "action", column})), body), (relation, column, what)
                )


def test_stored_text_cannot_be_cast_to_a_bomb(me: Caller) -> None:
    """`select=description::jsonb`: PostgREST casts what it reads."""
    for text in ("1e131000", "[1e131000]", '{"a": -1.0E+16000}', "1e-16383", " 0e-16383 "):
        cost = me.ask(insert("public.characters", ["user_id", "name", "description"]),
                      json.dumps([{"user_id": me.user, "name": "x", "description": text}]))  # fmt: skip
        assert (cost.refused, "description" in cost.said) == ("OV009", True), cost
    kept = "3 castles, 1e5 stars, model 4e2a91, at 9e12 and e100, 12:30, 1e99"
    cost = me.ask(insert("public.characters", ["user_id", "name"]), json.dumps([{"user_id": me.user, "name": kept}]))
    assert cost.refused is None, cost


def test_an_update_of_many_rows_is_bounded(site: tuple[Database, str]) -> None:
    """A PATCH writes its body to every row: two columns of 4 kB in 900 rows."""
    user = new_user(site[0])
    site[0].rows("insert into public.characters (user_id, name, description) select %s, 'x', '' from generate_series(1, 900)", (user,))
    caller = Caller(site[1], user)
    change = "update public.characters set description = it->>'d', traits = it->>'d' from (select %s::jsonb as it) as body where "
    body = json.dumps({"d": secrets.token_hex(1_900)})
    cost = caller.ask(change + "user_id = auth.uid()", body)
    assert cost.wal < WAL / 2 and cost.refused == "OV040", cost
    few = caller.ask(change + "id in (select id from public.characters limit 20)", body)
    assert few.refused is None, few


def test_inserting_as_many_rows_as_a_body_holds_is_affordable(site: tuple[Database, str]) -> None:
    """One POST of thousands of small rows to each table, as large as PostgREST accepts."""
    for relation, kinds in columns(site[1], "insert").items():
        caller = Caller(site[1], new_user(site[0]))
        rows = {c: v for c, v in (("user_id", caller.user), ("prompt", "x"), ("action", "x"), ("name", "x")) if c in kinds}
        if not rows:
            continue  # rows keyed by a project's id or the user's own id: refused at the first row
        body = json.dumps([rows] * (2**18 // (len(json.dumps(rows)) + 2)), separators=(",", ":"))
        affordable(caller.ask(insert(relation, list(rows)), body), relation)


HEAVY = st.recursive(
    st.sampled_from(
        ["1e131000", "-1e131000", "0e-16383", "1e-16000", "1e999", "0", "null", "true", json.dumps("1e9999"), json.dumps("\u0001" * 5_000)]
    )
    | st.integers(0, 60_000).map(lambda n: json.dumps("x" * n)),
    lambda inner: (
        st.tuples(st.lists(inner, max_size=4), st.integers(1, 3_000)).map(
            lambda both: "[" + ",".join(both[0] * both[1])[:200_000].rstrip(",") + "]"
        )
        | st.dictionaries(st.text(max_size=5), inner, max_size=4).map(
            lambda d: "{" + ",".join(f"{json.dumps(k)}:{v}" for k, v in d.items()) + "}"
        )
    ),
    max_leaves=6,
)


@pytest.mark.sized
@settings(max_examples=size(20, 2_000))
@given(data=st.data())
def test_random_values_are_affordable(me: Caller, functions: dict[str, dict[str, str]], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(n for n, kinds in functions.items() if kinds)))
    given_ = functions[name]
    fields = {a: data.draw(HEAVY | st.just(valid(kind, a)), label=a) for a, kind in given_.items()}
    affordable(me.ask(call(name, given_), "{" + ",".join(f'"{a}":{v}' for a, v in fields.items()) + "}"), name)


def test_oversized_requests_are_refused_through_postgrest(project: Project) -> None:
    """Real requests with a body of a megabyte, without a length, and with the numbers: refused with a status and a code."""
    user = project.user(verified=False)
    ask = {"job_type": "sdxl_image_fast", "prompt": "a lighthouse"}

    def chunks() -> Iterator[bytes]:
        yield json.dumps(ask).encode()

    with project.client(user) as client:
        large = client.post("/rest/v1/rpc/queue_job", json=ask | {"metadata": {"a": "x" * 2**20}})
        assert (large.status_code, large.json()["code"]) == (413, "OV040"), large.text
        endless = client.post("/rest/v1/rpc/queue_job", content=chunks(), headers={"Content-Type": "application/json"})
        assert (endless.status_code, endless.json()["code"]) == (411, "OV040"), endless.text
        body = json.dumps(ask)[:-1] + f', "metadata": {{"a": {MANY}}}}}'
        bomb = client.post("/rest/v1/rpc/queue_job", content=body, headers={"Content-Type": "application/json"})
        assert (bomb.status_code, bomb.json()["code"], bomb.json()["details"]) == (400, "OV009", "metadata"), bomb.text
        line = json.dumps({"user_id": user.id, "action": "x"})[:-1] + f', "metadata": {{"a": {MANY}}}}}'
        written = client.post(
            "/rest/v1/usage_logs", content=line, headers={"Content-Type": "application/json", "Prefer": "return=representation"}
        )
        assert (written.status_code, written.json()["code"]) == (400, "OV009"), written.text
        hidden = {"user_id": user.id, "name": "x", "description": "[" + ",".join(["1e131000"] * 400) + "]"}
        assert client.post("/rest/v1/characters", json=hidden).json()["details"] == "description"
        for cast in ("description::jsonb", "name::numeric"):  # PostgREST allows these casts to anyone, but not one with a length
            assert client.get("/rest/v1/characters", params={"select": cast}).json() == []
        assert client.get("/rest/v1/characters", params={"select": "name::bpchar(9999999)"}).status_code == 400
        assert client.get("/rest/v1/rpc/request_bytes").json() == 2**18
