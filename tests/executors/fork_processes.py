"""Fork processes from one that has imported everything, instead of starting interpreters: saves seconds of CPU each.

A fork server is a single-threaded process that waits on a socket: a message is a line of JSON and the files for stdin, stdout and stderr
(and a pulse). The forked process becomes a child of the server's own parent (CLONE_PARENT), which waits for it, signals it and learns of
its exit like any child it started itself. Linux only, like the executors' tests.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import platform
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from waiting import LIMIT

from executors.orchestrator import leash
from ourvidz import liveness

CLONE_PARENT = 0x8000
SYS_CLONE = {"x86_64": 56, "aarch64": 220}
LONGEST = 1 << 17
FREE = 100  # file descriptors from here on are unused


def fork_beside() -> int:
    """`os.fork`, but the child's parent is our parent. Single-threaded only: libc, which is bypassed, must hold no lock."""
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = ctypes.PyDLL(None).syscall(SYS_CLONE[platform.machine()], CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    (python.PyOS_AfterFork_Parent if pid else python.PyOS_AfterFork_Child)()
    if pid < 0:
        raise OSError("the process could not be forked")
    return int(pid)


def serve(listening: socket.socket) -> dict[str, Any]:
    """Return the request in each forked process; the server itself exits when its client has gone."""
    while True:
        text, fds, _, _ = socket.recv_fds(listening, LONGEST, 4)
        if not text:
            os._exit(0)
        if (pid := fork_beside()) == 0:
            listening.close()
            asked: dict[str, Any] = json.loads(text)
            become(asked, fds)
            return asked
        for fd in fds:
            os.close(fd)
        listening.send(str(pid).encode())


def die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(leash.PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def become(asked: Mapping[str, Any], fds: Sequence[int]) -> None:
    """Turn this process into one started with these arguments, environment and files."""
    if asked["session"]:
        os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    for target, fd in enumerate(fds):
        os.dup2(fd, target if target < 3 else FREE)
        os.close(fd)
    os.environ.clear()
    os.environ.update(asked["env"])
    if len(fds) > 3:
        os.environ[liveness.VARIABLE] = str(FREE)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    argv = asked["argv"]
    if leash.__file__ in argv:  # do the leash's part, before it would exec the program
        at = argv.index(leash.__file__)
        os.execv = lambda *_: None  # type: ignore[assignment]
        leash.main(int(argv[at + 1]), argv[at + 2 :])
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # as an interpreter does at startup
            signal.signal(number, signal.SIG_IGN)
        argv = argv[at + 3 :]
    sys.argv[:] = argv


def run(program: Callable[[], object]) -> NoReturn:
    """Run it and exit as an interpreter does, but without C++ destructors: they would join threads that only the server has."""
    code: Any = 0
    try:
        program()
    except SystemExit as left:
        code = left.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


class Forks:
    """The client's side of a fork server."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket, self._lock = ours, threading.Lock()

    def start(self, argv: Sequence[str], env: Mapping[str, str], output: int, *pulse: int, session: bool = False, **more: Any) -> int:
        """Start a process and return its pid. stdout and stderr go to `output`; `pulse` is where it signals that it is alive."""
        asked = {"argv": [*argv], "env": dict(env), "session": session, **more}
        with self._lock, Path(os.devnull).open("rb") as nothing:
            socket.send_fds(self._socket, [json.dumps(asked).encode()], (nothing.fileno(), output, output, *pulse))
            answer = self._socket.recv(64)
        assert answer, "the fork server died"
        return int(answer)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Forked:
    """The `subprocess.Popen` of a forked process."""

    def __init__(self, pid: int, stdout: IO[bytes] | None = None) -> None:
        self.pid, self.stdout, self._lock = pid, stdout, threading.Lock()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with self._lock:
            if self.returncode is None:
                found, status = os.waitpid(self.pid, os.WNOHANG)
                if found:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float = LIMIT) -> int:
        """The exit code, or the negative number of the signal that killed it."""
        if self.poll() is None:
            end = os.pidfd_open(self.pid)  # readable once all of its threads are dead
            ended = select.select([end], [], [], timeout)[0]
            os.close(end)
            if not ended:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
        code = self.poll()
        assert code is not None
        return code

    def signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
