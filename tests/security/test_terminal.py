"""Escape sequences in prompts, tags, names, messages and letters never reach a terminal or a pipe unescaped, in any command.

Operators look at user text. A sequence in it could clear the screen, overwrite the line above, rename the window, or set the clipboard (OSC
52).
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from cli_command import environment
from hypothesis import given
from hypothesis import strategies as st
from support import artifact, claim, executor, new_user, submit
from waiting import LIMIT

from ourvidz.cli.terminal import UNSAFE, one_line, safe
from ourvidz.db.connection import Database
from ourvidz.dev.upstash import UpstashFace
from ourvidz.lifecycle import Jobs

ATTACK = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b[1A\x9b31mzanzibar\x9d0;title\x9c\r\x7f\u202ereversed\u2028next"
"""OSC 52 (clipboard), clear, up a line; the same in C1; carriage return, DEL; a bidirectional override; a line separator."""
RUN = """
import json, sys
from ourvidz.cli.main import run
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["ourvidz", *arguments]
    run()
"""
STYLE = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?(25|7)[hl]|\x1b\[[0-9]*[GKA]|\x1b\[2K|\r(?=[\u2800-\u28ff\x1b]|$)")
"""Sequences that rich itself writes: colours, cursor visibility, and its progress line."""


def commands(job_id: str, user: str, scene: str) -> list[list[str]]:
    lines = f"""
        jobs ls | jobs ls --json | jobs show {job_id} | jobs show {job_id} --json | jobs show {job_id} --prompt | jobs show ATTACK
        events tail --no-follow | events tail --no-follow --json | stats | stats --json | top --once | top --json | videos show {scene}
        safety refusals | age ls | age ls --json | hold ls --all | hold ls --json | consent ls | tokens show {user}
        tokens show {user} --json | intake dead ls | intake dead ls --json | intake stats | deliver ls | deliver receivers ls
        erase {user} --dry-run | audit | submit image_fast --user {user} --prompt ATTACK | ATTACK | hold set {user} --reason ATTACK
        provenance ATTACK | doctor
    """
    return [
        [ATTACK if word == "ATTACK" else word for word in line.split()] for row in lines.strip().splitlines() for line in row.split("|")
    ]


@pytest.fixture
def planted(database: Database, jobs: Jobs, upstash: UpstashFace) -> list[list[str]]:
    """Plants the attack in every foreign text that a command shows; returns the commands."""
    user = new_user(database)
    job_id = submit(
        jobs, user, "image7b_fast_enhanced", prompt=f"a pier {ATTACK}", negative_prompt=ATTACK, metadata={"tags": [ATTACK], ATTACK: ATTACK}
    )
    gpu = jobs.register("gpu0", ATTACK, 1, ["wan"], {"device": ATTACK, ATTACK: ATTACK})
    held = claim(jobs, gpu)
    jobs.advance(held, "enhancement_started")
    jobs.enhanced(held, f"a pier at dusk {ATTACK}", seconds=1, tokens=5)
    jobs.advance(held, "generation_started")
    jobs.artifact_generated(held, artifact(held) | {"metadata": {"model": ATTACK, ATTACK: ATTACK}, "spool": ATTACK})
    jobs.fail(held, "bad_request", f"no such thing: {ATTACK}", retryable=False)
    submit(jobs, user, prompt=f"another {ATTACK}")
    executor(jobs, "gpu1")
    database.rows("update public.profiles set username = %s, email = %s where id = %s", (ATTACK, ATTACK, user))
    database.rows("select ourvidz.hold_set(%s, %s, %s)", (user, f"reason {ATTACK}", f"by {ATTACK}"))
    database.rows("select ourvidz.grant_tokens(%s, 5, %s, %s, %s)", (user, "key-1", f"reason {ATTACK}", "operator:test"))
    sql = "insert into public.projects (user_id, title, original_prompt, media_type) values (%s, %s, %s, 'video') returning id"
    project = database.rows(sql, (user, ATTACK, ATTACK))[0]["id"]
    sql = "insert into public.videos (user_id, project_id, scene_number) values (%s, %s, 1) returning id"
    scene = str(database.rows(sql, (user, project))[0]["id"])
    for letter in (
        f"not json {ATTACK}",
        json.dumps({"id": ATTACK, "type": ATTACK, ATTACK: 1}),
        json.dumps({"prompt": ATTACK}, ensure_ascii=False),
    ):
        headers = {"Authorization": f"Bearer {upstash.token}"}
        httpx.post(upstash.url, json=["LPUSH", "sdxl_queue", letter], headers=headers).raise_for_status()
    return [["intake", "run", "--once"], *commands(job_id, user, scene)]


@pytest.fixture
def env(database: Database, upstash: UpstashFace, tmp_path: Path) -> dict[str, str]:
    redis = {"UPSTASH_REDIS_REST_URL": upstash.url, "UPSTASH_REDIS_REST_TOKEN": upstash.token}
    return environment(tmp_path / "home", DATABASE_URL=database.url, **redis)


def raw(text: str) -> list[str]:
    """The unsafe characters left in the output, each with its context."""
    left = STYLE.sub("", text.replace("\r\n", "\n"))
    return [f"{found[0]!r} in {left[max(0, found.start() - 60) : found.start() + 20]!r}" for found in UNSAFE.finditer(left)]


def test_no_escape_sequences_reach_a_terminal(planted: list[list[str]], env: dict[str, str], tmp_path: Path) -> None:
    main, side = pty.openpty()
    line = [sys.executable, "-c", RUN, json.dumps(planted)]
    process = subprocess.Popen(
        line, env=env | {"TERM": "xterm-256color", "COLUMNS": "120"}, cwd=tmp_path, stdin=side, stdout=side, stderr=side
    )
    os.close(side)
    seen = b""
    while select.select([main], [], [], 120)[0]:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        seen += chunk
    os.close(main)
    assert process.wait(LIMIT) == 0
    text = seen.decode()
    assert text.count("zanzibar") > 10, "the commands show what was planted"
    assert raw(text) == []


def test_no_escape_sequences_reach_a_pipe(planted: list[list[str]], env: dict[str, str], tmp_path: Path) -> None:
    line = [sys.executable, "-c", RUN, json.dumps(planted)]
    done = subprocess.run(line, env=env, cwd=tmp_path, capture_output=True, timeout=LIMIT, check=True)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert out.count("zanzibar") > 10, err
    assert raw(out) == [] and raw(err) == []


@given(st.text())
def test_safe_removes_control_characters_and_keeps_json(text: str) -> None:
    assert not UNSAFE.search(safe(text)) and "\n" not in one_line(text)
    assert json.loads(safe(json.dumps({text: text}, ensure_ascii=False))) == {text: text}
    assert safe("a pier\tat dusk\nnaïve 海 🌊 \u200dِ") == "a pier\tat dusk\nnaïve 海 🌊 \u200dِ"
