"""The command as people run it: a process of its own, against this test's database, its stdout a pipe or a terminal."""

from __future__ import annotations

import atexit
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from child_signals import RESTORE
from waiting import LIMIT

COMMAND = [sys.executable, "-c", RESTORE + "from ourvidz.cli.main import main; main()"]


MODELS = [("models",), ("demo",), ("safety",), ("provenance",), ("worker",)]  # commands that import torch and what hangs on it
AT_START = ("PYTHON", "LC_", "LANG")  # what an interpreter reads as it starts


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


class Server:
    """A fork server of the command (command_server.py), for this process and as long as it lives."""

    def __init__(self, *, models: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ourvidz-command-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        script = str(Path(__file__).with_name("command_server.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, str(self.folder / "socket"), "models" * models],
            env=environment(self.folder),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"
        atexit.register(self.process.kill)

    def run(self, args: list[str], env: dict[str, str], cwd: Path, stdin: str, timeout: float) -> Answer:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, socket.socket(socket.AF_UNIX) as peer:
            files = {name: Path(folder, name) for name in ("stdin", "stdout", "stderr")}
            for name, path in files.items():
                path.write_text(stdin if name == "stdin" else "")
            peer.settimeout(timeout)
            peer.connect(str(self.folder / "socket"))
            with peer.makefile("rw") as line:
                asked = {"args": args, "env": env, "cwd": str(cwd)} | {name: str(path) for name, path in files.items()}
                print(json.dumps(asked), file=line, flush=True)
                pid = int(line.readline())
                try:
                    code = int(line.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(args, timeout, files["stdout"].read_text(), files["stderr"].read_text()) from None
            return Answer(code, files["stdout"].read_text(), files["stderr"].read_text())


@cache
def _server(*, models: bool) -> Server:
    return Server(models=models)


class Command:
    """Runs `ourvidz ARGS`: forked from a process that has imported it, which spares each test the interpreter's start."""

    def __init__(self, env: dict[str, str], cwd: Path) -> None:
        self.env, self.cwd = env, cwd

    def __call__(self, *args: str, stdin: str = "", timeout: float = LIMIT, **env: str) -> Answer:
        if any(name.startswith(AT_START) for name in env):
            done = subprocess.run(
                [*COMMAND, *args],
                env=self.env | env,
                cwd=self.cwd,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
            answer = Answer(done.returncode, done.stdout, done.stderr)
        else:
            answer = _server(models=args[:1] in MODELS).run(list(args), self.env | env, self.cwd, stdin, timeout)
        assert "Traceback" not in answer.err, answer.err
        return answer

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
