"""stats, doctor, migrate, audit, rebuild, models: output shapes and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from cli_command import Command, environment
from rich.console import Console
from storage_site import Face
from support import Server, claim, executor, finish, submit

from ourvidz.bootstrap import App
from ourvidz.checks import Line
from ourvidz.cli import doctor_checks, doctor_services
from ourvidz.cli.top import figures
from ourvidz.cli.top_page import page
from ourvidz.config import Config
from ourvidz.db import outbox
from ourvidz.db.connection import Database
from ourvidz.dev.upstash import MONTH_SPENT, Refusal, UpstashFace
from ourvidz.lifecycle import Jobs
from ourvidz.waiting_reports import Troubles
from state.catalog import BUCKETS

User = Callable[..., str]


def test_stats(ourvidz: Command, jobs: Jobs, user: User) -> None:
    owner, device = user("premium"), executor(jobs)
    for _ in range(3):
        submit(jobs, owner)
        finish(jobs, claim(jobs, device))
    submit(jobs, owner, "image_fast")
    jobs.fail(claim(jobs, device), "timeout", "Too slow.", retryable=False)
    submit(jobs, owner, "video_fast")
    figures = ourvidz("stats", "--json").json
    assert set(figures) == {"jobs", "queue", "durations", "executors", "errors"}
    assert figures["jobs"] == {"completed": 3, "failed": 1, "queued": 1}
    assert [(r["lane"], r["ready"]) for r in figures["queue"]] == [("wan", 1)]
    (took,) = figures["durations"]
    assert (took["job_type"], took["jobs"]) == ("sdxl_image_fast", 3)
    assert 0 < took["total_p50"] <= took["total_p95"]
    assert [(r["error_class"], r["jobs"]) for r in figures["errors"]] == [("timeout", 1)]
    assert [r["name"] for r in figures["executors"]] == ["gpu0"]
    assert "secret" not in figures["executors"][0]
    seen = ourvidz.in_terminal("stats").plain
    for word in ("Queue", "Durations", "Executors", "Errors", "timeout", "gpu0"):
        assert word in seen
    assert ["errors", "timeout", "failed", "1"] in [line[:4] for line in ourvidz("stats").lines]


def test_doctor(ourvidz: Command, jobs: Jobs) -> None:
    answer = ourvidz("doctor", "--json")
    lines = {line["what"]: line for line in answer.json}
    assert answer.code == 0, answer.out
    assert set(lines) >= {"python", "executors", "server", "schema", "clock", "workers", "storage", "models", "screen"}
    assert {line["state"] for line in answer.json} <= {"ok", "warn", "missing"}
    assert all(line["remedy"] for line in answer.json if line["state"] != "ok")
    assert lines["workers"]["state"] == "warn"
    executor(jobs)
    assert ["ok", "workers", "gpu0 (sdxl sdxl_ip wan wan_vace)", ""] in ourvidz("doctor").lines


def test_doctor_looks_at_roles_grants_and_realtime(ourvidz: Command, database: Database) -> None:
    def said() -> dict[str, str]:
        return {line["what"]: line["state"] for line in ourvidz("doctor", "--json").json}

    well = said()
    assert {well[what] for what in ("roles", "owner", "policies", "grants", "realtime", "extensions")} == {"ok"}
    for break_it, what, state in (
        ("grant usage on schema ourvidz to anon", "grants", "missing"),
        ("alter table public.artifacts disable row level security", "policies", "missing"),
        ("alter publication supabase_realtime drop table public.jobs", "realtime", "warn"),
        ("alter table public.videos owner to ourvidz", "owner", "missing"),
    ):
        database.rows(break_it)
        assert said()[what] == state, break_it


def test_doctor_asks_torch_only_where_there_may_be_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor_checks, "GPU_FILES", (str(tmp_path / "kfd"),))
    monkeypatch.setattr(doctor_checks, "ASK", "print('a card')")
    if sys.platform == "linux":
        line = doctor_checks._device()
        assert line.state == "warn" and line.found == f"CPU only: none of {tmp_path / 'kfd'} is here, so torch was not asked"
    (tmp_path / "kfd").touch()
    assert doctor_checks._device().found.startswith("a card")
    monkeypatch.setattr(doctor_checks, "ASK", "import a_torch_that_is_broken")
    line = doctor_checks._device()
    assert line.state == "warn" and "a_torch_that_is_broken" in line.found and "Install it again" in line.remedy


def test_the_device_check_gets_torchs_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor_checks, "GPU_FILES", (str(tmp_path),))
    line = doctor_checks._device()
    assert line.state == "ok" or line.found == "CPU only: torch finds no GPU"


def test_doctor_passes_for_the_executor_role_and_forbidden_commands_say_so(
    ourvidz: Command, database: Database, server: Server, database_name: str
) -> None:
    """In a container `doctor` runs as this role and is the health check."""
    url = server.url(database_name, superuser=True)
    ourvidz.env["DATABASE_URL"] = f"{url}{'&' if '?' in url else '?'}options=-c%20role%3Dourvidz_executor"
    lines = {line["what"]: line for line in ourvidz("doctor", "--json").json}
    assert "database" not in lines and lines["owner"]["state"] == lines["policies"]["state"] == "ok", lines
    for args in (("tokens", "grant", str(UUID(int=1)), "5", "--reason", "x"), ("migrate",)):
        refused = ourvidz(*args)
        assert refused.code == 1 and "The login in DATABASE_URL may not do this (permission denied" in refused.err, refused.err


def test_kept_policies_are_named_and_fail_doctor(ourvidz: Command, database: Database) -> None:
    database.rows("create policy \"Allow all\" on storage.objects for all using (bucket_id = 'video_fast')")
    checked = ourvidz("migrate", "--check", "--json")
    assert checked.code == 1 and any(step["object"] == "Allow all on storage.objects" for step in checked.json["steps"])
    kept = ourvidz("migrate", "--keep-policies")
    assert (
        kept.code == 0
        and 'policy "Allow all" on storage.objects lets anon delete, insert, select, update' in kept.err
        and "kept" in kept.err
    )
    doctor = ourvidz("doctor", "--json")
    red = [line for line in doctor.json if line["what"] == "access" and line["state"] == "missing"]
    assert doctor.code == 1 and any('drop policy "Allow all"' in line["remedy"] for line in red)
    assert any(line["found"] == "tried: delete by anon went through in video_fast" for line in red)
    assert "dropped" in ourvidz("migrate").err and ourvidz("migrate", "--check").code == 0
    doctor = ourvidz("doctor", "--json")
    assert doctor.code == 0 and {line["state"] for line in doctor.json if line["what"] == "access"} == {"ok"}


def test_doctor_compares_the_projects_buckets_with_the_catalog(
    ourvidz: Command, standing_face: Face, new_face: Callable[..., Face], tmp_path: Path
) -> None:
    env = {"SUPABASE_URL": standing_face.url, "SUPABASE_SERVICE_KEY": standing_face.secret.service}

    def said(face: Face, key: str | None) -> dict[str, Line]:
        config = Config(ourvidz_home=tmp_path, supabase_url=face.url, supabase_service_key=key)  # type: ignore[arg-type]
        return {line.what: line for line in doctor_services.storage(App(config))}

    face = new_face()
    face.clear({name: bucket for name, bucket in BUCKETS.items() if name != "sdxl_image_fast"})
    line = said(face, face.secret.service)["buckets"]
    assert (line.state, line.found) == ("missing", "missing: sdxl_image_fast") and "buckets sync" in line.remedy
    standing_face.clear(BUCKETS | {"video_high": BUCKETS["system-assets"]})
    line = said(standing_face, standing_face.secret.service)["buckets"]
    assert line.state == "warn" and line.found.endswith(": video_high")
    line = said(standing_face, None)["storage"]
    assert "buckets" not in said(standing_face, None) and str(tmp_path) in line.found
    standing_face.clear(BUCKETS)
    lines = {line["what"]: line for line in ourvidz("doctor", "--json", **env).json}
    assert (lines["storage"]["state"], lines["buckets"]["state"]) == ("ok", "ok") and standing_face.url in lines["storage"]["found"]


def test_doctor_looks_at_redis(upstash: UpstashFace) -> None:
    def said(url: str | None, token: str | None) -> list[Line]:
        return list(doctor_services.redis(App(Config(upstash_redis_rest_url=url, upstash_redis_rest_token=token))))  # type: ignore[arg-type]

    assert said(None, None) == []
    assert [line.state for line in said(upstash.url, None) + said(None, upstash.token)] == ["warn", "warn"]
    upstash.valkey.call("LPUSH", "sdxl_queue", b"{}")
    (line,) = said(upstash.url, upstash.token)
    assert line.state == "ok" and "1 message waiting, 0 refused" in line.found
    upstash.valkey.call("LPUSH", "wan_queue:dead", b"{}")
    (line,) = said(upstash.url, upstash.token)
    assert line.state == "warn" and "1 message waiting, 1 refused" in line.found and "dead ls" in line.remedy
    (line,) = said(upstash.url, "another")
    assert line.state == "missing" and "UPSTASH_REDIS_REST_TOKEN" in line.found
    upstash.answer(Refusal(400, MONTH_SPENT))
    (line,) = said(upstash.url, upstash.token)
    assert line.state == "missing" and "the plan's commands are used up" in line.found and "goes on by itself" in line.remedy


def test_doctor_and_top_show_what_a_service_waits_for(ourvidz: Command, database: Database, tmp_path: Path) -> None:
    """Read from the file that each service keeps while it waits: the database itself may be what it waits for."""
    ourvidz.env["OURVIDZ_HOME"] = str(tmp_path)
    Troubles(tmp_path).say("intake", "Upstash: the plan's commands are used up", 300)
    doctor = {line["what"]: line for line in ourvidz("doctor", "--json").json}
    assert doctor["waiting"]["state"] == "warn" and "intake, for" in doctor["waiting"]["found"]
    (trouble,) = ourvidz("top", "--json").json["troubles"]
    assert (trouble["part"], trouble["said"]) == ("intake", "Upstash: the plan's commands are used up")
    console = Console(width=80, record=True, force_terminal=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(page(figures(database, Troubles(tmp_path)), 80))
    assert "intake waits, for" in console.export_text()


def test_doctor_looks_at_receivers(database: Database) -> None:
    def said(**config: str) -> list[tuple[str, str]]:
        return [
            (line.state, line.found)
            for line in doctor_services.callbacks(Config(**{"supabase_url": None, "callback_secret": None, **config}), database)
        ]  # type: ignore[arg-type]

    assert said() == []
    outbox.receiver_set(database, "hook", "https://example.com/hook")
    assert said() == [("ok", "hook (0 messages waiting)")]
    outbox.receiver_enable(database, "hook", on=False)
    assert said() == [("warn", "disabled: hook")]
    url = {"supabase_url": "https://example.supabase.co"}
    assert [state for state, _ in said(**url)] == ["warn", "warn"] and len(said(**url, callback_secret="s" * 24)) == 1
    (short,) = (line for line in said(callback_secret="v1") if line[0] == "missing")
    assert short[1].startswith("CALLBACK_SECRET: a secret is only the version")


def test_doctor_creates_nothing(bare: Command, tmp_path: Path) -> None:
    """An unreachable database is reported, the other checks still run, and no folder is created."""
    answer = bare("doctor", "--json")
    assert answer.code == 1
    states = {line["what"]: line["state"] for line in answer.json}
    assert (states["database"], states["screen"]) == ("missing", "ok")
    embedded = Command({k: v for k, v in bare.env.items() if k != "DATABASE_URL"}, tmp_path)("doctor", "--json")
    assert embedded.code == 0
    assert not (tmp_path / "home").exists()


def test_migrate(server: Server, tmp_path: Path) -> None:
    name = server.create()
    ourvidz = Command(environment(tmp_path / "home", DATABASE_URL=server.url(name)), tmp_path)
    try:
        with psycopg.connect(server.url(name), autocommit=True) as connection:
            connection.execute("create table public.artifacts (theirs integer)")
            refused = ourvidz("migrate")
            assert refused.code == 1 and "public.artifacts" in refused.err and "Nothing was changed" in refused.err
            assert "Remedy: rename it: alter table public.artifacts" in refused.out
            connection.execute("drop table public.artifacts")
        said = ourvidz("jobs", "ls").err
        assert "release (none)" in said and "run `ourvidz migrate`" in said
        check = ourvidz("migrate", "--check", "--json")
        assert (check.code, check.json["found"], check.json["current"]) == (1, None, False)
        assert {"ourvidz.claim(uuid, text[], text[], integer)", "table public.jobs"} <= {step["object"] for step in check.json["steps"]}
        said = ourvidz("migrate", "--check")
        assert "`ourvidz migrate`" in said.err and said.out.startswith("release (none) → ")
        assert max(map(len, said.out.splitlines())) <= 100
        assert ourvidz("migrate").code == 0
        assert ourvidz("migrate", "--check").code == 0
        again = ourvidz("migrate", "--json").json
        assert (again["changed"], again["current"]) == (False, True)
        with psycopg.connect(server.url(name), autocommit=True) as connection:
            connection.execute(
                "update ourvidz.schema_objects set digest = 'of an older program' where kind = 'layer' or name like '%.claim(%'"
            )
            check = ourvidz("migrate", "--check").out
            assert [line.split() for line in check.splitlines() if "claim" in line] == [["replace", "ourvidz.claim"]]
            # An older program does nothing and says so; a newer one that only uses the database refuses it.
            connection.execute("update ourvidz.schema_objects set release = release + 1 where kind = 'layer'")
            assert "it is left as it is" in ourvidz("migrate").out and ourvidz("jobs", "ls").code == 0
            connection.execute("update ourvidz.schema_objects set release = 1 where kind = 'layer'")
            refused = ourvidz("worker", "--idle-exit", "1")
            assert (
                refused.code != 0
                and "The database has release 1, this program needs " in refused.err
                and "`ourvidz migrate`" in refused.err
            )
        assert ourvidz("migrate", "--json").json["changed"] is True
    finally:
        server.drop(name)


def test_migrate_writes_sql_without_a_database(tmp_path: Path) -> None:
    ourvidz = Command(environment(tmp_path / "home"), tmp_path)
    whole = ourvidz("migrate", "--sql").out
    assert whole.startswith("-- OurVidz's database, release ") and whole.endswith("commit;\n") and "-- 0001: " in whole
    assert ourvidz("migrate", "--sql", "-o", "ourvidz.sql").out == "" and (tmp_path / "ourvidz.sql").read_text() == whole
    assert not (tmp_path / "home").exists()
    assert ourvidz("migrate", "-o", "ourvidz.sql").code == 2


def test_audit_and_heads(ourvidz: Command, jobs: Jobs, user: User, tmp_path: Path, superuser: psycopg.Connection[object]) -> None:
    heads = str(tmp_path / "heads.jsonl")
    job_id = submit(jobs, user())
    submit(jobs, user())
    assert ourvidz("audit", "--heads", heads).code == 2
    assert ourvidz("audit", "--accept-loss", " ").code == 2
    first = ourvidz("audit", "--heads", heads, "--publish", "--json")
    assert (first.code, first.json) == (0, {"jobs": 2, "events": 2, "findings": [], "ledger": [], "published": 2})
    assert ourvidz("audit", "--heads", heads).out == "2 jobs, 2 events, 0 findings\nledger: ok\n"
    superuser.execute("alter table public.job_events disable trigger all")
    superuser.execute("update public.job_events set actor = 'person:nobody' where job_id = %s", (job_id,))
    broken = ourvidz("audit", "--heads", heads, "--json")
    assert broken.code == 1
    assert {f["job_id"] for f in broken.json["findings"]} == {job_id}
    assert set(broken.json["findings"][0]) == {"kind", "job_id", "version", "message"}
    assert ourvidz("audit", "--publish", "--heads", heads).code == 1


def test_rebuild(ourvidz: Command, jobs: Jobs, user: User, superuser: psycopg.Connection[object]) -> None:
    job_id = submit(jobs, user())
    assert ourvidz("rebuild", "--verify", "--json").json == {"verify": True, "findings": []}
    assert ourvidz("rebuild").code == 2  # not interactive
    superuser.execute("alter table public.jobs disable trigger all")
    superuser.execute("update public.jobs set attempts = 7 where id = %s", (job_id,))
    verify = ourvidz("rebuild", "--verify")
    assert verify.code == 1
    assert job_id in verify.out


@pytest.mark.parametrize("command", ["ls", "verify"])
def test_missing_models_are_reported(bare: Command, command: str) -> None:
    answer = bare("models", command, "--json")
    assert answer.code == (0 if command == "ls" else 1)
    assert {role["role"] for role in answer.json} == {"sdxl", "ip_adapter", "wan", "vace", "qwen"}
    assert all(set(role) >= {"role", "ok", "tiny", "path", "bytes", "problems"} for role in answer.json)


def test_tiny_models_are_not_written_into_a_folder_of_real_ones(bare: Command, tmp_path: Path) -> None:
    answer = bare("models", "make-tiny", OURVIDZ_MODELS=str(tmp_path))
    assert answer.code == 2
    assert "--to" in answer.err
