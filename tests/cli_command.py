"""The command as people run it: a process of its own, against this test's database, its stdout a pipe or a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from child_signals import RESTORE
from waiting import LIMIT

COMMAND = [sys.executable, "-c", RESTORE + "from ourvidz.cli.main import main; main()"]


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.out)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of this process what programs need, and nothing that speaks to ours or changes colours."""
    ours = ("OURVIDZ_", "DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PG")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | {"OURVIDZ_HOME": str(home)} | more


class Command:
    """Runs `ourvidz ARGS`."""

    def __init__(self, env: dict[str, str], cwd: Path) -> None:
        self.env, self.cwd = env, cwd

    def __call__(self, *args: str, stdin: str = "", timeout: float = LIMIT, **env: str) -> Answer:
        done = subprocess.run(
            [*COMMAND, *args], env=self.env | env, cwd=self.cwd, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*COMMAND, *args], env=self.env, cwd=self.cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def in_terminal(self, *args: str, typed: str = "", timeout: float = LIMIT, **env: str) -> Answer:
        """With stdin, stdout and stderr on one terminal of 120 columns; `out` is everything that appeared there."""
        main, side = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, *args],
            env=self.env | {"TERM": "xterm-256color", "COLUMNS": "120"} | env,
            cwd=self.cwd,
            stdin=side,
            stdout=side,
            stderr=side,
        )
        os.close(side)
        if typed:
            os.write(main, typed.encode())
        seen, deadline = b"", time.monotonic() + timeout
        while time.monotonic() < deadline:
            if select.select([main], [], [], 0.1)[0]:
                try:
                    chunk = os.read(main, 65536)
                except OSError:  # the other side is closed
                    break
                if not chunk:
                    break
                seen += chunk
        os.close(main)
        return Answer(process.wait(LIMIT), seen.decode().replace("\r\n", "\n"))
