"""Helpers of the tests that migrate a database with existing objects."""

from __future__ import annotations

from collections import Counter

from support import Permissive, claim, executor, finish, submit

from ourvidz.audit import audit
from ourvidz.db import ledger, reconcile
from ourvidz.db.connection import Database
from ourvidz.db.reconcile import Step
from ourvidz.lifecycle import Jobs

NEWCOMER = "00000000-0000-4000-8000-0000000000c0"
DATA = ("balance of", "plan of", "age of", "roles of", "rows of", "key ", "publication ", "table ourvidz.")
"""Prefixes of steps that change rows, or objects that objects() does not list."""


def lives_on(database: Database) -> None:
    """Assert that the migrated database works: a user signs up, is verified, submits a job and gets it; the audit finds nothing."""
    database.rows("insert into auth.users (id, email) values (%s, 'new@example.org')", (NEWCOMER,))
    assert database.rows("select username from public.profiles where id = %s", (NEWCOMER,)) == [{"username": "new"}]
    assert database.rows("select role::text from public.user_roles where user_id = %s", (NEWCOMER,)) == [{"role": "basic_user"}]
    ledger.grant(database, NEWCOMER, 100, "to begin with")
    database.rows("update public.profiles set age_verified = true where id = %s", (NEWCOMER,))
    jobs = Jobs(database, Permissive())
    wanted = submit(jobs, NEWCOMER, "image_fast")
    gpu = executor(jobs)
    made = claim(jobs, gpu)
    assert made.job_id == wanted and list(jobs.claim(gpu)) == []
    finish(jobs, made)
    assert list(audit(database).findings) == [] and ledger.check(database) == []


def planned(database: Database) -> list[Step]:
    with database.transaction() as connection:
        return reconcile.plan(connection)


def run(database: Database, change: str) -> None:
    with database.driver() as connection:
        connection.execute(change)


def foreseen(before: dict[str, str], after: dict[str, str], steps: list[Step]) -> None:
    """Assert that the plan named exactly the existing objects whose catalog entries changed."""
    named = {s.object for s in steps}
    changed = {o for o, definition in before.items() if after.get(o) != definition}
    assert changed - named == set(), "changed, and not named"
    times = Counter(s.object for s in steps)  # named twice: a default that is dropped for a type change and then set again
    kept = {
        s.object
        for s in steps
        if not s.object.startswith(DATA) and times[s.object] == 1 and not (s.action or "").startswith("left reading")
    }
    assert {o for o in kept if before.get(o) == after.get(o)} == set(), "named, and not changed"
