"""`ourvidz models pull` as run from a shell: dry run, interruption, resume, refusals."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_command import Command
from hub_server import Hub
from waiting import LIMIT, wait_for

QWEN = "Qwen/Qwen2.5-7B-Instruct"
BIG = b'{"w":{"dtype":"U8","shape":[3000000],"data_offsets":[0,3000000]}}'
WEIGHTS = len(BIG).to_bytes(8, "little") + BIG + b"\5" * 3_000_000


@pytest.fixture
def server() -> Iterator[Hub]:
    with Hub() as running:
        config = b'{"architectures": ["Qwen2ForCausalLM"]}'
        running.publish(QWEN, {"config.json": config, "tokenizer_config.json": b"{}", "model.safetensors": WEIGHTS, "old.bin": b"pickle"})
        yield running


@pytest.fixture
def pull(bare: Command, server: Hub, tmp_path: Path) -> Command:
    env = {"HF_ENDPOINT": server.url, "OURVIDZ_MODELS": str(tmp_path / "models"), "HF_TOKEN": "hf_do-not-print"}
    return Command(bare.env | env, tmp_path)


def test_a_dry_run_lists_everything_and_downloads_nothing(pull: Command, tmp_path: Path) -> None:
    answer = pull("models", "pull", "qwen", "--dry-run", "--json")
    assert answer.code == 0
    assert {f["file"]: f["bytes"] for f in answer.json["files"]}["qwen2.5-7b-instruct/model.safetensors"] == len(WEIGHTS)
    assert [f for f in answer.json["files"] if f["file"].endswith(".bin")] == []
    assert not (tmp_path / "models").exists()
    shown = pull.in_terminal("models", "pull", "qwen", "--dry-run").plain
    assert "3.0 MB" in shown
    assert "Nothing was fetched" in shown


def test_a_killed_pull_resumes(pull: Command, server: Hub, tmp_path: Path) -> None:
    server.hold["model.safetensors"] = 2_000_000
    running = pull.start("models", "pull", "qwen")
    assert server.reached.wait(LIMIT)
    (part,) = _wait_for(tmp_path / "models/.partial", 1_900_000)
    os.kill(running.pid, signal.SIGKILL)
    running.wait(LIMIT)
    kept = part.stat().st_size
    server.held.set()
    assert not list(tmp_path.glob("models/qwen*/*.safetensors"))  # never a partial file under its final name

    answer = pull("models", "pull", "qwen")
    assert (answer.code, answer.err.count("are kept from before")) == (0, 1)
    (resumed,) = [s for s in server.fetched("model.safetensors") if s.server == "cdn" and s.range]
    assert resumed.range == f"bytes={kept}-"
    assert (tmp_path / "models/qwen2.5-7b-instruct/model.safetensors").read_bytes() == WEIGHTS
    verified = {r["role"]: r for r in pull("models", "verify", "--deep", "--json").json}
    (problem,) = verified["qwen"]["problems"]  # hashes, checked first, are right; the content is not a model
    assert "lacks the tensor" in problem


def _wait_for(folder: Path, size: int) -> list[Path]:
    found: list[Path] = wait_for(lambda: [p for p in folder.glob("*") if p.stat().st_size >= size], lambda: f"for {size} bytes in {folder}")
    return found


def test_a_file_with_a_wrong_hash_is_named_and_fails(pull: Command, server: Hub) -> None:
    server.tamper.add("model.safetensors")
    answer = pull("models", "pull", "qwen")
    assert answer.code == 1
    assert "quarantine/qwen2.5-7b-instruct/model.safetensors" in answer.err


def test_a_moved_branch_is_refused_until_accepted(pull: Command, server: Hub) -> None:
    assert pull("models", "pull", "qwen").code == 0
    server.publish(QWEN, server.commits[server.repos[QWEN]["main"]] | {"config.json": b'{"architectures": ["Qwen2ForCausalLM"], "a": 1}'})
    refused = pull("models", "pull", "qwen")
    assert refused.code == 1
    assert "--update" in refused.err
    assert pull("models", "pull", "qwen", "--locked").code == 0
    assert pull("models", "pull", "qwen", "--update").code == 0
    assert pull("models", "pull", "qwen").code == 0


@pytest.mark.parametrize("status", [401, 403, 404, 418, 500])
def test_errors_say_what_to_do_and_show_no_secrets(pull: Command, server: Hub, status: int) -> None:
    server.refuse[QWEN] = status
    answer = pull("models", "pull", "qwen")
    assert answer.code == 1
    assert QWEN in answer.err
    assert "do-not-print" not in answer.err + answer.out


def test_secrets_of_signed_addresses_are_not_shown(pull: Command, server: Hub) -> None:
    server.refuse["model.safetensors"] = 403
    answer = pull("models", "pull", "qwen")
    assert answer.code == 1
    assert "the server answers 403" in answer.err
    assert "very-secret" not in answer.err
    server.publish("stabilityai/stable-diffusion-xl-base-1.0", {"model_index.json": b"{}"})
    for status in (403, 503):
        server.refuse = {"s.safetensors": status}
        answer = pull("models", "pull", "sdxl", "--sdxl", f"{server.cdn}/0/s.safetensors?token=s3cret")
        assert answer.code == 1
        assert "s.safetensors: " in answer.err
        assert "s3cret" not in answer.err


def test_invalid_arguments_are_refused(pull: Command, tmp_path: Path) -> None:
    assert "no role 'qwn'" in pull("models", "pull", "qwn").err
    assert pull("models", "pull", "--update", "--locked").code == 2
    nowhere = Command({k: v for k, v in pull.env.items() if k != "OURVIDZ_MODELS"}, tmp_path)("models", "pull")
    assert nowhere.code == 2
    assert "OURVIDZ_MODELS" in nowhere.err


def test_without_a_network_it_says_so(pull: Command) -> None:
    answer = pull("models", "pull", "qwen", HF_ENDPOINT="http://127.0.0.1:1")
    assert answer.code == 1
    assert "cannot be reached" in answer.err
