"""OurVidz's production database as tests/data describes it, before any migration."""

from __future__ import annotations

import psycopg
import pytest
from production_copy import ANNA, SECOND_ANNA, TYPES, older_job

from ourvidz.db.connection import Database


def test_production_fixture_matches_the_legacy_system(production: Database) -> None:
    counted = {r["status"]: r["n"] for r in production.rows("select status, count(*) as n from public.jobs group by status")}
    assert counted == {"queued": 12, "processing": 11, "failed": 11, "completed": 10}
    assert {r["job_type"] for r in production.rows("select distinct job_type from public.jobs")} == set(TYPES)
    # A second user with the same local part in their email gets neither profile nor role: handle_new_user swallows all errors.
    assert production.rows("select 1 from public.profiles where id = %s", (SECOND_ANNA,)) == []
    assert production.rows("select role from public.user_roles where user_id = %s", (SECOND_ANNA,)) == []
    pictures = production.rows("select image_index, status from public.images where job_id = %s", (older_job("image_fast", "completed"),))
    assert pictures == [{"image_index": None, "status": "queued"}]  # a Wan picture has no index, so the deployed callback does not find it
    with pytest.raises(psycopg.errors.RaiseException, match="without image_id"):
        production.rows("update public.jobs set image_id = null, status = 'processing' where id = %s", (older_job("image_fast", "queued"),))
        production.rows("update public.jobs set status = 'completed' where id = %s", (older_job("image_fast", "queued"),))
    policies = production.rows("select count(*) as n from pg_policies where schemaname = 'storage'")
    assert policies[0]["n"] > 60
    assert production.rows("select username from public.profiles where id = %s", (ANNA,)) == [{"username": "anna"}]
