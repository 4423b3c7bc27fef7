"""Processes forked from one that has imported everything, in place of interpreters that each import it again: seconds of CPU for each.

A fork server is a process with one thread that waits on a socket: a message is a line of JSON and the files of stdin, stdout and stderr
(and of a pulse). What it forks is a child of the server's own parent (CLONE_PARENT), which so waits for it, signals it and is told of its
end as of any child it had started itself; nothing stands between them. Linux only, as the executors' tests are.
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
from ourvidz import pulse

CLONE_PARENT = 0x8000
SYS_CLONE = {"x86_64": 56, "aarch64": 220}
LONGEST = 1 << 17
FREE = 100  # descriptors from here on are nobody's


def fork_beside() -> int:
    """`os.fork`, but that the child is our parent's. Only with one thread: the C library, which is not asked, holds no lock then."""
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = ctypes.PyDLL(None).syscall(SYS_CLONE[platform.machine()], CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    (python.PyOS_AfterFork_Parent if pid else python.PyOS_AfterFork_Child)()
    if pid < 0:
        raise OSError("the process could not be forked")
    return int(pid)


def serve(listening: socket.socket) -> dict[str, Any]:
    """Returns in each process that was forked, with what was asked for; the server itself ends when whoever asks has gone."""
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
    """This process is from now on as if it had been started so."""
    if asked["session"]:
        os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    for target, fd in enumerate(fds):
        os.dup2(fd, target if target < 3 else FREE)
        os.close(fd)
    os.environ.clear()
    os.environ.update(asked["env"])
    if len(fds) > 3:
        os.environ[pulse.VARIABLE] = str(FREE)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    argv = asked["argv"]
    if leash.__file__ in argv:  # what the leash does before it becomes the program
        at = argv.index(leash.__file__)
        os.execv = lambda *_: None  # type: ignore[assignment]
        leash.main(int(argv[at + 1]), argv[at + 2 :])
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # as an interpreter sets them when it starts
            signal.signal(number, signal.SIG_IGN)
        argv = argv[at + 3 :]
    sys.argv[:] = argv


def run(program: Callable[[], object]) -> NoReturn:
    """Run it, and end as an interpreter does, but without C++'s destructors: they would join threads that only the server has."""
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
    """The end of those who ask."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket, self._lock = ours, threading.Lock()

    def start(self, argv: Sequence[str], env: Mapping[str, str], output: int, *pulse: int, session: bool = False, **more: Any) -> int:
        """The number of the process. Its stdout and stderr are `output`; a `pulse` is where it tells that it lives."""
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
    """What `subprocess.Popen` is to a program."""

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
        """The exit code, or minus the signal that killed it."""
        if self.poll() is None:
            end = os.pidfd_open(self.pid)  # readable when the last of its threads is dead
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
