"""Access trial of `ourvidz doctor`: try, as anon and as another user, to reach private data. Everything is rolled back."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from ourvidz.checks import Line
from ourvidz.db import storage_policies
from ourvidz.db.connection import Database, transaction_of

_SLOW = "3s"  # for one relation: a policy that runs for each row of a large table is not waited for
_LOGIN = "Run `ourvidz doctor` with the DATABASE_URL that migrates (at Supabase: `postgres`), which may become anon and authenticated."


def storage(db: Database) -> Iterator[Line]:
    """Try objects of a made-up user, in each private bucket of the project and in each of ours, existing or not."""
    try:
        with db.transaction() as connection:
            leaks = storage_policies.leaks(connection)
        with db.driver() as driver, transaction_of(driver, force_rollback=True):
            driver.execute("select set_config('lock_timeout', '2s', true), set_config('statement_timeout', '30s', true)")
            rows = driver.execute("select bucket, caller, verb, went from ourvidz.storage_trial()").fetchall()
    except Exception as error:
        if not isinstance(cause := _cause(error), psycopg.errors.InsufficientPrivilege):
            raise
        yield Line("warn", "access", f"not tried as anon and as another user: {str(cause).splitlines()[0]}", _LOGIN)
        return
    for leak in leaks:
        yield Line("missing", "access", str(leak), f"`ourvidz migrate` drops it where it may; else run: {leak.remedy}")
    for went, verbs in _by_verb(rows).items():
        for said, buckets in verbs.items():
            found = f"tried: {said} {'went through' if went else 'is refused'} in {storage_policies.names(buckets)}"
            yield Line(
                "missing", "access", found, "Look at the policies on storage.objects and storage.buckets; `ourvidz migrate` makes ours."
            )
    if not rows and not leaks:
        yield Line("ok", "access", "tried as anon and as another user: nothing private can be read, listed, written or deleted")


def channels(db: Database) -> Iterator[Line]:
    """Find policies of the project's own that open a user's private channel of Realtime, which carries their jobs' status, to others."""
    try:
        rows = db.rows("select policy, lets from ourvidz.realtime_leaks()")
    except psycopg.errors.InsufficientPrivilege:
        return  # already reported for storage
    for row in rows:
        found = f'policy "{row["policy"]}" on realtime.messages lets {", ".join(row["lets"])} in the channel jobs:USER of every user'
        remedy = "Add to it: and realtime.topic() not like 'jobs:%'."
        yield Line("missing", "access", found, remedy)


_PAST = """
  with recursive reading (oid) as (
    select c.oid from pg_class as c where c.relkind in ('r', 'p') and c.relname <> 'buckets' and (
      c.relnamespace = 'public'::regnamespace and c.relname = any (ourvidz.our_relations()) or c.relnamespace = 'ourvidz'::regnamespace
      or c.oid = to_regclass('storage.objects'))
    union
    select r.ev_class from reading join pg_depend as d on d.refclassid = 'pg_class'::regclass and d.refobjid = reading.oid
    join pg_rewrite as r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
  )
  select c.relname from reading join pg_class as c using (oid)
  where c.relkind in ('v', 'm') and c.relnamespace = 'public'::regnamespace and c.relname <> all (ourvidz.our_relations()) order by 1"""
"""The project's own views that read our tables or the objects of storage."""


def tables(db: Database) -> Iterator[Line]:
    """Find rows of ours that anon, or a user who owns none, can see: in our tables and views, and in others' views that read them."""
    seen: dict[str, list[str]] = defaultdict(list)
    slow = []
    claims = {"anon": {"role": "anon"}, "authenticated": {"role": "authenticated", "sub": str(uuid.uuid4())}}
    try:
        with db.driver() as driver, transaction_of(driver, force_rollback=True):
            names = [n for (n,) in driver.execute("select name from unnest(ourvidz.our_relations()) as name "
                                                  "where to_regclass('public.' || name) is not null order by 1")]  # fmt: skip
            others = [n for (n,) in driver.execute(_PAST)]
            for role, said in claims.items():
                for name in [*names, *others]:
                    try:
                        if _sees(driver, role, said, name):
                            seen[name].append("anon" if role == "anon" else "another user")
                    except psycopg.errors.QueryCanceled:
                        slow.append(name)
    except psycopg.errors.InsufficientPrivilege as error:
        yield Line("warn", "access", f"not tried as anon and as another user: {str(error).splitlines()[0]}", _LOGIN)
        return
    for name, who in seen.items():
        found = f"public.{name} shows rows to {' and to '.join(who)}"
        if name in others:
            remedy = f'It bypasses row-level security: `alter view public."{name}" set (security_invoker = true)`, or revoke select on it.'
            yield Line("warn", "access", found, remedy)
        else:
            yield Line("missing", "access", found, "`ourvidz migrate` drops policies of others on it.")
    if slow:
        yield Line("warn", "access", f"not tried within {_SLOW}: {', '.join(sorted(set(slow)))}", "Too many rows to ask for each.")
    if not seen:
        yield Line("ok", "access", f"tried as anon and as another user: no row of {len(names) + len(others)} tables and views is seen")


def _sees(driver: psycopg.Connection[Any], role: str, claims: Mapping[str, str], name: str) -> bool:
    driver.execute("reset role")
    with driver.transaction(force_rollback=True):
        driver.execute(
            "select set_config('request.jwt.claims', %s, true), set_config('statement_timeout', %s, true)", (json.dumps(claims), _SLOW)
        )
        driver.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))  # refused here: this login may not try
        try:
            (answer,) = driver.execute(sql.SQL("select exists (select from public.{})").format(sql.Identifier(name))).fetchone() or (False,)
        except psycopg.errors.InsufficientPrivilege:
            return False
        return bool(answer)


def _by_verb(rows: list[tuple[str, str, str, bool]]) -> dict[bool, dict[str, list[str]]]:
    found: dict[bool, dict[str, list[str]]] = {}
    for bucket, caller, verb, went in rows:
        what = "change of the bucket itself" if verb == "buckets" else verb
        found.setdefault(went, {}).setdefault(f"{what} by {caller}", []).append(bucket)
    return found


def _cause(error: BaseException) -> BaseException:
    return getattr(error, "orig", None) or error
