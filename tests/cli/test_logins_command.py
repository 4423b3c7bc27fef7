"""`ourvidz logins`: create a login with its limits, use, list and repair it, change its password, remove it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cli_command import Command
from logins import login, url_of
from support import Server

from ourvidz import secret_risks
from ourvidz.cli import doctor_secrets
from ourvidz.config import Config
from ourvidz.db.connection import Database


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    name = f"test_login_{uuid.uuid4().hex[:10]}"
    yield name
    server.admin("drop role if exists {}", name)


def test_up_dry_run_lists_only_services_the_login_may_run(ourvidz: Command, server: Server, database_name: str, database: Database) -> None:
    owners = ourvidz("up", "--dry-run", "--json")
    assert {"deliverer", "reaper"} <= {row["name"] for row in owners.json} and owners.err == ""
    with login(server, database_name, "ourvidz_executor") as url:
        executors = ourvidz("up", "--dry-run", "--json", DATABASE_URL=url)
    names = {row["name"] for row in executors.json}
    assert "deliverer" not in names and "reaper" in names and "No deliverer is run here" in executors.err


def test_a_login_is_created_used_repaired_and_dropped(
    ourvidz: Command, database: Database, server: Server, database_name: str, name: str
) -> None:
    made = ourvidz("logins", "add", name, "--role", "executor", "--role", "intake", "--lanes", "sdxl,wan")
    assert made.code == 0, made.err
    url = url_of(server, database_name, name, made.out.strip())
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("show statement_timeout").fetchone() == ("1min",)
        connection.execute("select ourvidz.register('gpu1', 'host', 1, '{wan}')")
        with pytest.raises(psycopg.Error, match="may serve the lanes sdxl, wan, and not sdxl_ip"):
            connection.execute("select ourvidz.register('gpu1', 'host', 1, '{sdxl_ip}')")
        connection.execute("select ourvidz.intake_forget('30 days')")
        assert ourvidz("logins", "lanes", name).code == 0
        connection.execute("select ourvidz.register('gpu1', 'host', 1, '{sdxl_ip}')")

        other = ourvidz("logins", "password", name, "--json")
        assert other.json["name"] == name and other.json["password"] not in (made.out.strip(), "")
        with pytest.raises(psycopg.OperationalError):  # sessions with the old password are terminated
            connection.execute("select 1")
    with psycopg.connect(url_of(server, database_name, name, other.json["password"])) as connection:
        connection.execute("alter role current_user set statement_timeout = 0")
        connection.execute(f"alter role current_user in database {connection.info.dbname} set statement_timeout = 0")
    (row,) = [row for row in ourvidz("logins", "ls", "--json").json if row["name"] == name]
    assert row == {"name": name, "roles": ["ourvidz_executor", "ourvidz_intake"], "lacks": ["statement_timeout is 0, not 60s"]}
    assert [line.state for line in doctor_secrets.logins(database) if name in line.found] == ["warn"]
    assert ourvidz("logins", "repair").code == 0
    (row,) = [row for row in ourvidz("logins", "ls", "--json").json if row["name"] == name]
    assert row["lacks"] == []

    assert ourvidz("logins", "drop", name).code != 0  # not interactive: nobody to confirm
    assert ourvidz("logins", "drop", name, "--yes").code == 0
    assert database.rows("select from pg_roles where rolname = %s", (name,)) == []


def test_invalid_requests_are_refused(ourvidz: Command, name: str) -> None:
    for args, said in (
        (("add", name, "--role", "owner"), "'owner' is not a role that a login may have"),
        (("add", name, "--role", "executor", "--lanes", "sdxl,none"), "'none' is not a lane"),
        (("add", "ourvidz_owner", "--role", "executor"), "There is a role ourvidz_owner already"),
        (("password", name), f"There is no login {name}"),
        (("drop", "ourvidz_owner", "--yes"), "There is no login ourvidz_owner"),
        (("repair", name), f"There is no login {name}"),
    ):
        refused = ourvidz("logins", *args)
        assert refused.code != 0 and said in refused.err, refused.err


def test_the_url_holds_no_password(ourvidz: Command) -> None:
    refused = ourvidz("logins", "url")
    assert refused.code == 2 and "not printed" in refused.err and not refused.out


def test_doctor_explains_what_each_leaked_secret_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in secret_risks.SECRETS:
        for name in secret.names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CALLBACK_SECRET", "whsec_" + "A" * 32)
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "pgpass").touch()
    lines = list(doctor_secrets.secrets(Config(ourvidz_home=tmp_path)))
    assert [line.found.split(",")[0] for line in lines] == ["CALLBACK_SECRET", "OURVIDZ_HOME/postgres/pgpass"]
    assert all("opens" in line.found and line.remedy.startswith("After a leak: ") for line in lines)
    assert not any("A" * 32 in line.found + line.remedy for line in lines)


def test_every_secret_setting_is_in_the_leaks_table() -> None:
    secret = {name.upper() for name, field in Config.model_fields.items() if "SecretStr" in str(field.annotation)}
    public = {"SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"}  # public: in every browser
    assert secret - public <= {name for row in secret_risks.SECRETS for name in row.names}
