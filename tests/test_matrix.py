"""A job's life on each major version of Postgres that README names as supported. `make matrix` runs all of the database's tests on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Permissive, claim, embedded_server, executor, finish, make_migrated, new_user, submit

from ourvidz.audit import audit
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from tools import matrix

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("build", matrix.BUILDS, ids=lambda build: build.version)
def test_a_job_is_made_and_its_history_verifies(
    build: matrix.Build, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_BIN", str(matrix.binaries(build)))
    with embedded_server(tmp_path_factory.mktemp) as server:
        database = Database(server.url(server.create(make_migrated(server))))
        (found,) = database.rows("show server_version_num")
        assert int(found["server_version_num"]) // 10_000 == build.major
        jobs = Jobs(database, Permissive(), patience=20)
        job_id = submit(jobs, new_user(database, "premium"))
        finish(jobs, claim(jobs, executor(jobs)))
        assert [(str(job["id"]), job["status"]) for job in database.rows("select id, status from public.jobs")] == [(job_id, "completed")]
        assert audit(database).findings == ()
        database.close()


def test_the_readme_names_the_versions_that_are_tested() -> None:
    assert f"Postgres {matrix.BUILDS[0].major} to {matrix.WHEEL}" in README
