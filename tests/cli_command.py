"""Run the `ourvidz` command in its own process against the test's database, with stdout as a pipe or a terminal."""

from __future__ import annotations

import fcntl
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
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from child_signals import RESTORE
from waiting import LIMIT

COMMAND = [sys.executable, "-c", RESTORE + "from ourvidz.cli.main import main; main()"]


MODELS = [
    ("models",),
    ("demo",),
    ("safety",),
    ("provenance",),
    ("worker",),
    ("enhancer",),
]  # they import torch and more
AT_START = ("PYTHON", "LC_", "LANG")  # read by an interpreter at startup


def at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(AT_START)}


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
    """This process's environment without variables that affect `ourvidz` or colours. One thread: with tensors as small as those of the
    tiny models, two threads wait for each other longer than they work."""
    ours = ("OURVIDZ_", "DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PG")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | {"OURVIDZ_HOME": str(home), "OMP_NUM_THREADS": "1"} | more


class Running:
    """A forked command, with the parts of `subprocess.Popen` that tests use."""

    def __init__(self, args: list[str], peer: socket.socket) -> None:
        self.args, self._peer = args, peer
        self._said = peer.makefile("r")
        self.pid = int(self._said.readline())
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        """Return the exit status. On timeout, kill the command and raise `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._peer.settimeout(timeout)
            try:
                self.returncode = int(self._said.readline())
            except TimeoutError:
                self.kill()
                raise subprocess.TimeoutExpired(self.args, timeout) from None
            self._said.close()
            self._peer.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = LIMIT) -> tuple[str, str]:
        """The rest of stdout and stderr, after the command has ended."""
        with ThreadPoolExecutor(2) as threads:
            said = [threads.submit(_rest, pipe) for pipe in (self.stdout, self.stderr)]
            self.wait(timeout)
            return said[0].result(), said[1].result()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()
        self.wait(LIMIT)


def _rest(pipe: IO[str] | None) -> str:
    if pipe is None or pipe.closed:
        return ""
    with pipe:
        return pipe.read()


class Server:
    """A fork server (command_server.py) shared by the processes of this test run; it runs as long as one of them does."""

    def __init__(self, *, models: bool) -> None:
        # xdist's id of the run, the same in each of its processes
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
        self.folder = Path(tempfile.gettempdir(), f"ourvidz-command-{run}" + "-models" * models)
        self.holds = socket.socket(socket.AF_UNIX)  # held until this process ends
        with Path(__file__).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # only one process starts it
            if not self._held():
                self._start(models=models)
                assert self._held()

    def _held(self) -> bool:
        """Register with a running server, which this process then keeps alive; False if there is none."""
        try:
            self.holds.connect(str(self.folder / "socket"))
            self.holds.sendall(b"hold\n")
            if self.holds.recv(5) == b"held\n":
                return True
        except OSError:
            pass  # no server, or one that is shutting down
        self.holds.close()
        self.holds = socket.socket(socket.AF_UNIX)
        return False

    def _start(self, *, models: bool) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        script = [sys.executable, str(Path(__file__).with_name("command_server.py")), str(self.folder), "models" * models]
        self.process = subprocess.Popen(script, env=environment(self.folder), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def start(self, args: list[str], env: Mapping[str, str], cwd: Path, files: Sequence[str]) -> Running:
        """Start the command with these files as stdin, stdout and stderr, and return when it has opened them."""
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(self.folder / "socket"))
        named = dict(zip(("stdin", "stdout", "stderr"), files, strict=True))
        peer.sendall(json.dumps({"args": args, "env": dict(env), "cwd": str(cwd), **named}).encode() + b"\n")
        return Running(args, peer)

    def run(self, args: list[str], env: dict[str, str], cwd: Path, stdin: str, timeout: float) -> Answer:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            files = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
            for path, text in zip(files, (stdin, "", ""), strict=True):
                path.write_text(text)
            try:
                code = self.start(args, env, cwd, [str(path) for path in files]).wait(timeout)
            except subprocess.TimeoutExpired:
                raise subprocess.TimeoutExpired(args, timeout, files[1].read_text(), files[2].read_text()) from None
            return Answer(code, files[1].read_text(), files[2].read_text())


@cache
def _server(*, models: bool) -> Server:
    return Server(models=models)


class Command:
    """Run `ourvidz ARGS` in a fork of a process that has already imported it: saves each test an interpreter start."""

    def __init__(self, env: dict[str, str], cwd: Path) -> None:
        self.env, self.cwd = env, cwd

    def __call__(self, *args: str, stdin: str = "", timeout: float = LIMIT, **env: str) -> Answer:
        env = self.env | env
        if at_start(env) != at_start(os.environ):
            done = subprocess.run(
                [*COMMAND, *args],
                env=env,
                cwd=self.cwd,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
            answer = Answer(done.returncode, done.stdout, done.stderr)
        else:
            answer = self._server(args).run(list(args), env, self.cwd, stdin, timeout)
        assert "Traceback" not in answer.err, answer.err
        return answer

    def start(self, *args: str) -> Running:
        """Start with stdout and stderr as pipes and an empty stdin."""
        reading, writing = zip(os.pipe(), os.pipe(), strict=True)
        files = [os.devnull, *(f"/proc/{os.getpid()}/fd/{end}" for end in writing)]  # opened by the server's child
        running = self._server(args).start(list(args), self.env, self.cwd, files)
        for end in writing:
            os.close(end)
        running.stdout, running.stderr = (os.fdopen(end) for end in reading)
        return running

    def _server(self, args: Sequence[str]) -> Server:
        return _server(models=tuple(args[:1]) in MODELS)

    def in_terminal(self, *args: str, typed: str = "", timeout: float = LIMIT, **env: str) -> Answer:
        """Run with stdin, stdout and stderr on one terminal of 120 columns; `out` is everything printed there."""
        main, side = pty.openpty()
        env, name = self.env | {"TERM": "xterm-256color", "COLUMNS": "120"} | env, os.ttyname(side)
        running = self._server(args).start(list(args), env, self.cwd, [name] * 3)
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
        return Answer(running.wait(LIMIT), seen.decode().replace("\r\n", "\n"))
