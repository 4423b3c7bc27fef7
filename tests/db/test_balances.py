"""Tokens by hand: grants and revokes; only transfers change a balance, and transfers never change; what the ledger check finds."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import psycopg
import pytest
from ledger_helpers import accounts, balance, kinds, sound
from support import Server, new_user, submit

from ourvidz.bootstrap import LOCAL_TOKENS, LOCAL_USER, make_local_profile
from ourvidz.db import ledger
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from state.errors import BareWrite, Forbidden, IdempotencyConflict, InsufficientTokens, InvalidJob, NotFound

User = Callable[..., str]


# -- grants and revokes -----------------------------------------------------------------------------------------------------------


def test_grants_and_revokes(database: Database, user: User) -> None:
    owner = user(tokens=0)
    assert accounts(database, owner) == {}
    assert ledger.grant(database, owner, 100, "starter plan", "invoice-1", "person:ada") == ledger.Moved(100, True)
    assert ledger.grant(database, owner, 100, "starter plan", "invoice-1", "person:ada") == ledger.Moved(100, False)
    assert ledger.revoke(database, owner, 30, " payment reversed ", actor="person:ada") == ledger.Moved(70, True)
    assert ledger.grant(database, owner, 5, "a gift") == ledger.Moved(75, True)
    assert ledger.grant(database, owner, 5, "a gift") == ledger.Moved(80, True)  # without a key each call is another grant
    found = ledger.account(database, owner)
    assert (found.balance, found.held) == (80, 0)
    assert [(e["kind"], e["available"], e["reason"], e["actor"]) for e in found.entries] == [
        ("grant", 5, "a gift", "login:ourvidz"), ("grant", 5, "a gift", "login:ourvidz"), ("revoke", -30, "payment reversed", "person:ada"),
        ("grant", 100, "starter plan", "person:ada")]  # fmt: skip
    sound(database)


def test_invalid_grants_are_refused(database: Database, user: User) -> None:
    owner, other = user(tokens=0), user(tokens=0)
    ledger.grant(database, owner, 10, "a plan", "k")
    for amount, reason in ((11, "a plan"), (9, "a plan")):
        with pytest.raises(IdempotencyConflict, match="another key"):
            ledger.grant(database, owner, amount, reason, "k")
    with pytest.raises(IdempotencyConflict):
        ledger.revoke(database, owner, 10, "a plan", "k")
    for amount in (0, -1, 10**12 + 1):
        with pytest.raises(InvalidJob) as refused:
            ledger.grant(database, owner, amount, "a plan")
        assert refused.value.field == "amount"
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(InvalidJob) as refused:
            ledger.grant(database, owner, 1, reason)
        assert refused.value.field == "reason"
    with pytest.raises(InvalidJob):
        ledger.grant(database, owner, 1, "a plan", "")
    with pytest.raises(NotFound):
        ledger.grant(database, str(uuid.uuid4()), 1, "a plan")
    with pytest.raises(NotFound):
        ledger.account(database, str(uuid.uuid4()))
    with pytest.raises(InsufficientTokens, match=r"takes 11 tokens.* is 10"):
        ledger.revoke(database, owner, 11, "too much")
    ledger.grant(database, other, 10, "a plan", "k")  # keys are scoped to the user
    assert (balance(database, owner), balance(database, other)) == (10, 10)
    sound(database)


def test_only_admins_grant_tokens_over_the_api(database: Database, user: User) -> None:
    owner = user(tokens=0)

    def granted(claims: dict[str, object]) -> None:
        with database.driver() as connection, connection.transaction():
            connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            connection.execute("select ourvidz.grant_tokens(%s, 7, 'because', null, 'person:somebody-else')", (owner,))

    for role in ("anon", "authenticated"):
        with pytest.raises(psycopg.Error) as refused:
            granted({"role": role, "sub": owner})
        assert refused.value.sqlstate == Forbidden.sqlstate
    assert balance(database, owner) == 0
    admin = str(uuid.uuid4())
    granted({"role": "authenticated", "sub": admin, "app_metadata": {"role": "admin"}})
    granted({"role": "service_role"})
    assert [e["actor"] for e in ledger.account(database, owner).entries] == ["service", f"admin:{admin}"]


# -- nothing but transfers writes balances and entries ----------------------------------------------------------------------------

SET = "update public.profiles set token_balance ="
ENTER = "insert into ourvidz.token_entries (user_id, account, amount, kind, key, reason, actor, at)"
REFUSED = {
    "raise a balance": f"{SET} token_balance + 1",
    "lower a balance": f"{SET} token_balance - 1",
    "raise it on the way": "update public.profiles set age_verified = true, token_balance = 1000000000",
    "upsert a profile": (
        "insert into public.profiles (id, token_balance) select id, 99 from public.profiles"
        " on conflict (id) do update set token_balance = excluded.token_balance"),
    "merge into profiles": (
        "merge into public.profiles as p using (select 1) as x on true when matched then update set token_balance = 7"),
    "half a transfer": (
        f"{ENTER} select id, 'available', 5, 'grant', 'k', 'because', 'person', now() from public.profiles"),
    "two that do not fit": (
        f"{ENTER} select id, a, n, 'grant', 'k', 'because', 'person', now() from public.profiles,"
        " (values ('available', 6), ('issued', -5)) as l (a, n)"),
    "two that fit but are two": (
        f"{ENTER} select id, a, n, 'grant', a, 'because', 'person', now() from public.profiles,"
        " (values ('available', 5), ('issued', -5)) as l (a, n)"),
    "open an account again": (
        f"{ENTER} select id, a, n, 'opening', 'k', 'because', 'person', now()"
        " from public.profiles, (values ('available', 5), ('issued', -5)) as l (a, n)"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_the_table_owner_cannot_write_balances_or_entries(database: Database, user: User, what: str) -> None:
    owner = user(tokens=50)
    with pytest.raises(BareWrite, match=r"transfer|opened by its profile"):
        database.rows(REFUSED[what])
    assert balance(database, owner) == 50
    sound(database)


@pytest.mark.parametrize(
    "statement", ["update ourvidz.token_entries set amount = amount", "delete from ourvidz.token_entries", "truncate ourvidz.token_entries"]
)
def test_entries_are_never_changed(database: Database, user: User, superuser: psycopg.Connection, statement: str) -> None:
    user()
    with pytest.raises(psycopg.Error, match="append-only") as refused:
        superuser.execute(statement)
    assert refused.value.sqlstate == "OV003" and "write another" in (refused.value.diag.message_hint or "")
    with pytest.raises(psycopg.Error, match="only by a transfer") as refused:
        superuser.execute("update public.profiles set token_balance = 1")
    assert refused.value.sqlstate == "OV004"
    superuser.execute("set session_replication_role = replica")  # a session setting is no way around it
    for change in (statement, "update public.profiles set token_balance = 1"):
        with pytest.raises(psycopg.Error) as refused:
            superuser.execute(change)
        assert refused.value.sqlstate == "OV051"


def test_a_users_own_trigger_cannot_change_the_ledger(database: Database, user: User) -> None:
    owner = user(tokens=50)
    database.rows("create table public.lever (n integer)")
    database.rows("""create function public.pull() returns trigger language plpgsql as
                     $$ begin update public.profiles set token_balance = 999; return null; end $$""")
    database.rows("create trigger pull after insert on public.lever for each statement execute function public.pull()")
    with pytest.raises(BareWrite):
        database.rows("insert into public.lever values (1)")
    assert balance(database, owner) == 50


def test_an_update_that_leaves_the_balance_unchanged_is_allowed(database: Database, user: User) -> None:
    """The legacy system writes whole rows back, including an unchanged balance."""
    owner = user(tokens=50)
    database.rows("update public.profiles set token_balance = token_balance, last_login = now() where id = %s", (owner,))
    assert database.rows("select last_login is not null as set from public.profiles") == [{"set": True}]


def test_entries_that_match_no_transfer_kind_are_refused(database: Database, user: User) -> None:
    user()
    write = """insert into ourvidz.token_entries (user_id, account, amount, kind, key, reason, actor, at)
               select id, a, n, %s, 'k', 'because', 'person', now() from public.profiles, (values (%s, 5), (%s, -5)) as l (a, n)"""
    for kind, to, of in (("grant", "revenue", "issued"), ("grant", "issued", "available"), ("gift", "available", "issued"),
                         ("hold", "held", "available")):  # fmt: skip
        with pytest.raises(psycopg.errors.CheckViolation):
            database.rows(write, (kind, to, of))


# -- created and deleted profiles -------------------------------------------------------------------------------------------------


def test_a_profile_opens_its_account_and_closes_it(database: Database) -> None:
    owner, none = new_user(database, tokens=25), new_user(database, tokens=0)
    assert accounts(database, owner) == {"issued": -25, "available": 25} and accounts(database, none) == {}
    database.rows("delete from public.profiles")
    assert accounts(database, owner) == {}
    database.rows("insert into public.profiles (id, token_balance) values (%s, 4)", (owner,))
    assert accounts(database, owner) == {"issued": -4, "available": 4}
    sound(database)


def test_a_job_of_a_deleted_profile_can_still_end(database: Database, jobs: Jobs, user: User) -> None:
    owner = user(tokens=5)
    job_id = submit(jobs, owner)
    database.rows("delete from public.usage_logs")
    database.rows("delete from public.profiles")
    jobs.cancel(job_id)
    assert kinds(database, job_id) == [("hold", 1), ("release", -1)]
    assert ledger.check(database) == []


def test_a_user_cannot_give_themselves_tokens(database: Database) -> None:
    def signs_up(tokens: int, claims: dict[str, object]) -> None:
        with database.driver() as connection, connection.transaction():
            connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
            connection.execute("insert into public.profiles (id, token_balance) values (gen_random_uuid(), %s)", (tokens,))

    mine = {"role": "authenticated", "sub": str(uuid.uuid4())}
    with pytest.raises(psycopg.Error) as refused:
        signs_up(1, mine)
    assert refused.value.sqlstate == Forbidden.sqlstate
    signs_up(0, mine)
    signs_up(3, {"role": "service_role"})
    signs_up(4, mine | {"app_metadata": {"role": "admin"}})
    assert [r["n"] for r in database.rows("select token_balance as n from public.profiles order by 1")] == [0, 3, 4]
    sound(database)


def test_the_local_profile_is_topped_up(database: Database) -> None:
    make_local_profile(database)
    make_local_profile(database)
    assert balance(database, LOCAL_USER) == LOCAL_TOKENS
    ledger.revoke(database, LOCAL_USER, LOCAL_TOKENS - 3, "a night of videos")
    make_local_profile(database)
    assert balance(database, LOCAL_USER) == LOCAL_TOKENS
    assert [e["kind"] for e in ledger.account(database, LOCAL_USER).entries] == ["grant", "revoke", "opening"]
    sound(database)


# -- findings of the check --------------------------------------------------------------------------------------------------------


def test_the_check_finds_what_a_superuser_did(database: Database, jobs: Jobs, user: User, superuser: psycopg.Connection) -> None:
    owner = user(tokens=10)
    waiting, ended = submit(jobs, owner, "sdxl_image_high"), submit(jobs, owner)
    jobs.cancel(ended)
    sound(database)

    def found(*statements: str) -> set[tuple[str, str | None]]:
        """Findings of the check after these statements ran with triggers disabled."""
        tables = ("ourvidz.token_entries", "public.profiles")
        with superuser.transaction(force_rollback=True):
            for table in tables:
                superuser.execute(f"alter table {table} disable trigger user")
            for statement in statements:
                superuser.execute(statement)
            cursor = superuser.execute(ledger._sql("ledger_check"))
            return {(r[0], r[2] and str(r[2])) for r in cursor.fetchall()}

    assert found() == set()
    assert found("update public.profiles set token_balance = 9") == {("balance", None)}
    assert found("update ourvidz.token_entries set amount = 11 where kind = 'opening' and account = 'available'") == {
        ("uneven", None), ("balance", None)}  # fmt: skip
    assert found(f"delete from ourvidz.token_entries where job_id = '{waiting}'", "update public.profiles set token_balance = 10") == {
        ("not_held", waiting)}  # fmt: skip
    assert found("delete from ourvidz.token_entries where kind = 'release'", "update public.profiles set token_balance = 7") == {
        ("held", ended)}  # fmt: skip
    stolen = f"""insert into ourvidz.token_entries (user_id, account, amount, kind, job_id, job_version, actor, at)
                 select '{owner}', a, n, 'release', '{waiting}', 1, 'person', now()
                 from (values ('held', -9), ('available', 9)) as l (a, n)"""
    assert found(stolen, "update public.profiles set token_balance = 17") == {
        ("no_event", waiting), ("not_held", waiting), ("negative", None)}  # fmt: skip


def test_existing_balances_become_opening_entries(server: Server, database: Database, user: User) -> None:
    """The migration's backfill for existing profiles, run again after their entries were deleted."""
    from importlib import resources

    rich, _ = user(tokens=12), user(tokens=0)
    script = resources.files("migrations.versions").joinpath("0003_ledger.sql").read_text()
    with database.driver() as connection, connection.transaction():
        connection.execute("drop table ourvidz.token_entries cascade")
        connection.execute(script)
    assert accounts(database, rich) == {"issued": -12, "available": 12}
    sound(database)
