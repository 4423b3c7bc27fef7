"""`ourvidz dev up`: one command starts a stack that behaves like Supabase and Upstash, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_command import Command, Running, environment
from waiting import LIMIT, wait_for

from ourvidz.db.supervisor import _arguments_of

ANY_PORT = ("--port", "0", "--upstash-port", "0")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("dev")
    # Must never be reached: the stack uses the embedded database.
    return Command(environment(folder / "home", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"), folder)


@pytest.fixture(scope="module")
def running(command: Command) -> Iterator[Running]:
    process = command.start("dev", "up", "--json", *ANY_PORT)
    yield process
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def stack(running: Running) -> dict[str, Any]:
    assert running.stdout is not None and running.stderr is not None
    line = running.stdout.readline()
    assert line, running.stderr.read()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_users_token_gives_access_to_their_rows(stack: dict[str, Any]) -> None:
    assert [user["age_verified"] for user in stack["users"]] == [True, False, True]
    for user in stack["users"]:
        headers = {"apikey": stack["SUPABASE_ANON_KEY"], "Authorization": f"Bearer {user['jwt']}"}
        assert httpx.get(f"{stack['SUPABASE_URL']}/auth/v1/user", headers=headers).json()["id"] == user["id"]
        rows = httpx.get(f"{stack['SUPABASE_URL']}/rest/v1/profiles?select=id,age_verified", headers=headers).json()
        assert {"id": user["id"], "age_verified": user["age_verified"]} in rows
        assert (len(rows) == 1) == (user is not stack["users"][2]), "the third is an admin, who sees all"


def test_the_printed_accounts_can_sign_in(stack: dict[str, Any]) -> None:
    for key in ("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"):
        body = {"email": stack["USER_EMAIL"], "password": stack["PEOPLE_PASSWORD"]}
        url = f"{stack['SUPABASE_URL']}/auth/v1/token?grant_type=password"
        assert httpx.post(url, headers={"apikey": stack[key]}, json=body).json()["user"]["id"] == stack["USER_ID"]


def test_a_job_inserted_by_rest_is_seen_by_the_command(command: Command, stack: dict[str, Any]) -> None:
    verified, unverified, _ = stack["users"]

    def insert(user: dict[str, Any]) -> httpx.Response:
        headers = {"apikey": stack["SUPABASE_ANON_KEY"], "Authorization": f"Bearer {user['jwt']}", "Prefer": "return=representation"}
        job = {"user_id": user["id"], "job_type": "sdxl_image_fast", "status": "queued", "metadata": {"prompt": "a lighthouse at dusk"}}
        return httpx.post(f"{stack['SUPABASE_URL']}/rest/v1/jobs", headers=headers, json=job)

    made = insert(verified)
    assert made.status_code == 201, made.text
    assert insert(unverified).json()["code"] == "OV010", "nobody's age is taken on trust"
    env = {"DATABASE_URL": "", "SUPABASE_URL": stack["SUPABASE_URL"], "SUPABASE_SERVICE_KEY": stack["SUPABASE_SERVICE_KEY"]}
    assert [row["id"] for row in command("jobs", "ls", "--json", **env).json] == [made.json()[0]["id"]]
    assert {row["state"] for row in command("buckets", "ls", "--json", **env).json} == {"as asked"}


def test_the_edge_function_queues_a_job_and_holds_its_price(stack: dict[str, Any]) -> None:
    def ask(user: dict[str, Any]) -> httpx.Response:
        body = {"jobType": "sdxl_image_fast", "metadata": {"prompt": "a lighthouse at dusk"}}
        return httpx.post(f"{stack['SUPABASE_URL']}/functions/v1/queue-job", headers={"Authorization": f"Bearer {user['jwt']}"}, json=body)

    verified, unverified, _ = stack["users"]
    queued = ask(verified).json()
    assert queued["success"] is True and queued["job"]["user_id"] == verified["id"]
    assert 0 < queued["price"] <= verified["tokens"] - queued["balance"]
    refused = ask(unverified)
    assert (refused.status_code, refused.json()["success"]) == (403, False)


def test_redis_answers_upstashs_rest_api(stack: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {stack['UPSTASH_REDIS_REST_TOKEN']}"}
    assert httpx.get(f"{stack['UPSTASH_REDIS_REST_URL']}/llen/sdxl_queue", headers=headers).json() == {"result": 0}


def test_env_prints_shell_variables(command: Command, stack: dict[str, Any]) -> None:
    told = command("dev", "env")
    assert told.code == 0 and told.err == ""
    shown = subprocess.run(["sh", "-c", f"{told.out}\nprintenv SUPABASE_URL USER_TOKEN DATABASE_URL"], capture_output=True, text=True)
    assert shown.stdout.splitlines() == [stack["SUPABASE_URL"], stack["USER_TOKEN"], ""]
    assert command("dev", "env", "--json").json["SUPABASE_SERVICE_KEY"] == stack["SUPABASE_SERVICE_KEY"]
    assert Path(stack["env_file"]).stat().st_mode & 0o077 == 0, "keys are their owner's alone"


def test_keys_can_be_changed_while_it_runs(command: Command, stack: dict[str, Any]) -> None:
    def answer(key: str) -> str:
        said = httpx.get(f"{stack['SUPABASE_URL']}/rest/v1/jobs?select=id&limit=0", headers={"apikey": stack[key], **user}).json()
        return str(said["message"] if isinstance(said, dict) else "taken")

    user = {"Authorization": f"Bearer {stack['USER_TOKEN']}"}
    shown = command("dev", "keys", "disable-legacy", "--json").json
    assert [(key["name"], key["state"].split()[0]) for key in shown["api_keys"]] == [
        ("publishable", "taken"),
        ("secret", "taken"),
        ("anon", "disabled"),
        ("service", "disabled"),
    ]
    assert (answer("SUPABASE_ANON_KEY"), answer("SUPABASE_PUBLISHABLE_KEY")) == ("Legacy API keys are disabled", "taken")
    assert command("dev", "keys", "enable-legacy").code == 0 and answer("SUPABASE_ANON_KEY") == "taken"
    refused = command("dev", "keys", "rotate")
    assert refused.code == 1 and "add one first" in refused.err
    assert [key["status"] for key in command("dev", "keys", "add", "--json").json["signing_keys"]][-1] == "standby"
    rotated = [key["status"] for key in command("dev", "keys", "rotate", "--json").json["signing_keys"]]
    assert rotated == ["previously_used", "previously_used", "in_use"]
    body = {"email": stack["USER_EMAIL"], "password": stack["PEOPLE_PASSWORD"]}
    url, key = stack["SUPABASE_URL"], {"apikey": stack["SUPABASE_PUBLISHABLE_KEY"]}
    session = httpx.post(f"{url}/auth/v1/token?grant_type=password", headers=key, json=body).json()
    wait_for(
        lambda: httpx.get(f"{url}/rest/v1/jobs", headers={**key, "Authorization": f"Bearer {session['access_token']}"}).status_code == 200
    )


def test_a_second_stack_in_one_home_is_refused(command: Command, stack: dict[str, Any]) -> None:
    refused = command("dev", "up", *ANY_PORT)
    assert refused.code == 1 and "up already" in refused.err
    taken = command("dev", "up", "--home", str(command.cwd / "other"), "--port", stack["SUPABASE_URL"].rpartition(":")[2])
    assert taken.code == 1 and "`--port 0`" in taken.err


def test_env_and_keys_without_a_stack_say_how_to_start_one(bare: Command) -> None:
    for what in ("env", "keys"):
        said = bare("dev", what)
        assert said.code == 1 and "`ourvidz dev up`" in said.err


def test_ctrl_c_stops_everything_and_a_restart_keeps_the_project(command: Command, running: Running, stack: dict[str, Any]) -> None:
    running.send_signal(signal.SIGINT)
    assert running.wait(LIMIT) == 0
    assert {"valkey", "postgrest", "auth", "storage", "gateway"} <= set(stack["pids"])
    assert all(_arguments_of(pid) is None for pid in stack["pids"].values())
    assert "not up now" in command("dev", "env").err
    again = command.start("dev", "up", "--json", *ANY_PORT)
    assert again.stdout is not None
    try:
        found = json.loads(again.stdout.readline())
        headers = {"apikey": stack["SUPABASE_ANON_KEY"], "Authorization": f"Bearer {stack['USER_TOKEN']}"}
        assert found["SUPABASE_URL"] != stack["SUPABASE_URL"]
        assert httpx.get(f"{found['SUPABASE_URL']}/rest/v1/jobs?select=id", headers=headers).status_code == 200, "keys last"
        os.kill(found["pids"]["postgrest"], signal.SIGKILL)
        _, said = again.communicate(timeout=LIMIT)
        assert again.returncode == 1 and "postgrest has ended" in said, "half a stack would only puzzle people"
        assert all(_arguments_of(pid) is None for pid in found["pids"].values())
    finally:
        again.kill()
        again.communicate()
