"""`supabase functions deploy` with the CLI itself uploads everything that each function needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from deploying import REF, TOKEN, Management, management
from stack_fixtures import Project
from waiting import LIMIT

from ourvidz.dev.parts import Parts, bring_libraries, supabase_cli
from ourvidz.dev.process import Process, listening, on_free_port
from ourvidz.dev.stack import HOST
from tools.docs import ROOT

SUPABASE = ROOT / "supabase"
NAMES = sorted(path.parent.name for path in (SUPABASE / "functions").glob("*/index.ts"))


@pytest.fixture(scope="module")
def deployed(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> tuple[Management, str]:
    """Run once per module: the listener's uploads, and the CLI's output."""
    home = tmp_path_factory.mktemp("home")
    with management() as listener:
        argv = [
            str(supabase_cli(parts)), "functions", "deploy", f"--remote={REF}", "--use-api", "--yes",
            "--workdir", str(ROOT), "--profile", str(listener.profile(home)),
        ]  # fmt: skip
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "SUPABASE_ACCESS_TOKEN": TOKEN, "SUPABASE_TELEMETRY_DISABLED": "1"}
        done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return listener, said


def test_every_function_is_deployed_without_a_warning(deployed: tuple[Management, str]) -> None:
    listener, said = deployed
    assert sorted(listener.uploads) == NAMES
    assert "WARN" not in said, said


def test_verify_jwt_is_deployed_per_function(deployed: tuple[Management, str]) -> None:
    wanted = tomllib.loads((SUPABASE / "config.toml").read_text())["functions"]
    told = {name: upload.metadata["verify_jwt"] for name, upload in deployed[0].uploads.items()}
    assert told == {name: settings["verify_jwt"] for name, settings in wanted.items()}


def test_no_test_and_no_key_is_uploaded(deployed: tuple[Management, str]) -> None:
    files = {name for upload in deployed[0].uploads.values() for name in upload.files}
    assert not [name for name in files if name.endswith("_test.ts") or ".env" in name]


@pytest.mark.parametrize("name", NAMES)
def test_uploaded_functions_run_on_their_own(
    deployed: tuple[Management, str], project: Project, parts: Parts, tmp_path: Path, name: str
) -> None:
    """In an empty folder, with Deno's cache and no network: nothing of the checkout is reachable. The lock replaces npm's answers about the
    versions of indirect dependencies."""
    upload = deployed[0].uploads[name]
    upload.write(tmp_path)
    shutil.copy(SUPABASE / "functions/deno.lock", tmp_path / "npm.lock")
    bring_libraries(parts, SUPABASE / "functions")
    run = [
        str(parts.deno), "run", "--cached-only", "--lock", str(tmp_path / "npm.lock"), 
        "--no-prompt", "--allow-net", "--allow-env", f"--allow-read={tmp_path}",
        "--config", str(tmp_path / upload.metadata["import_map_path"]), str(tmp_path / upload.metadata["entrypoint_path"]),
    ]  # fmt: skip
    env = {
        **parts.deno_env,
        "SUPABASE_URL": project.url,
        "SUPABASE_ANON_KEY": project.anon_key,
        "SUPABASE_SERVICE_ROLE_KEY": project.service_key,
        "CALLBACK_SECRET": project.environment["CALLBACK_SECRET"],
    }
    process, port = on_free_port(
        lambda port: Process(name, run, tmp_path / "log", {**env, "DENO_SERVE_ADDRESS": f"tcp:{HOST}:{port}"}).until(listening(port))
    )
    try:
        with httpx.Client(base_url=f"http://{HOST}:{port}/{name}", timeout=LIMIT) as client:
            check(client, project, name)
    finally:
        process.stop()


def check(client: httpx.Client, project: Project, name: str) -> None:
    user = project.user()
    signed_in = {"Authorization": f"Bearer {user.token}", "apikey": project.anon_key}
    answers: dict[str, Callable[[], httpx.Response]] = {
        "queue-job": lambda: client.post("", json={"jobType": "image_fast", "metadata": {"prompt": "a pier"}}, headers=signed_in),
        "enhance-prompt": lambda: client.post("", json={"prompt": "a pier"}, headers=signed_in),
        "verify": lambda: client.get(""),
        "age-webhook": lambda: client.post("", json={}),
        "report": lambda: client.get(""),
        "job-callback": lambda: client.post("", json={"job_id": user.id, "status": "completed"}),
    }
    answer = answers[name]()
    assert answer.status_code == {"age-webhook": 503, "job-callback": 401, "enhance-prompt": 503}.get(name, 200), answer.text
