"""Keep one Postgres running while anybody uses it, and stop it when nobody does.

    python -m ourvidz.db.supervisor supervise '<json>'   (what `embedded.py` starts, by file path)
    python -m ourvidz.db.supervisor exec '<json>'        (become the server's user, then become the program)

It knows its users by a lock alone: each holds a shared flock on `users.lock`, which the kernel releases however the user dies. Nothing has
to be unregistered, so nothing can be forgotten.

Standard library only, and run with `-I -S`: it outlives the process that started it, so it should cost little and depend on nothing that a
`pip install` could change.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

TICK = 0.25
LINGER = 1.5  # seconds without users before the server stops: a second command typed after a first finds it running
KILLS = 3  # SIGKILLs in a row, of a server that was not ready yet, after which it gives up: something ends it each time
CRASH_RETRY = 5.0  # after a kill -9 the old backends keep the shared memory for about 1.6 s, and a start fails meanwhile
# Fast shutdown first; immediate (crash recovery at the next start, nothing committed is lost) when it hangs.
STOPPING = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))

GAVE_UP = "gave up"

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SETPCAP = 1, 2, 8
_PR_SET_PDEATHSIG, _PR_GET_SECUREBITS, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT = 1, 27, 28, 47
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522


def _libc(name: str, *arguments: Any) -> int:
    result: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def _prctl(*arguments: int) -> int:
    return _libc("prctl", *(ctypes.c_ulong(n) for n in (*arguments, 0, 0, 0, 0)[:5]))


def become(uid: int, gid: int, capability: int | None) -> None:
    """Change from root to `uid`, irrevocably, keeping at most the one capability that lets it pass a private folder.

    Postgres and initdb refuse geteuid() == 0 and check nothing else, so they accept such a process. The capability is ambient, because only
    that survives the execve of a binary without file capabilities; and the setuid fixup is off, because access(2) otherwise ignores
    capabilities when the real uid is not root, and Postgres finds itself with access().
    """
    if os.geteuid() != 0 or uid == 0:
        return
    if capability is not None:
        _prctl(_PR_SET_SECUREBITS, _prctl(_PR_GET_SECUREBITS) | _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if capability is not None:
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        only = 1 << capability
        _libc("capset", header, (ctypes.c_uint32 * 6)(only, only, only, 0, 0, 0))  # effective, permitted, inheritable
        _prctl(_PR_CAP_AMBIENT, 2, capability)  # PR_CAP_AMBIENT_RAISE


def become_and_exec(argv: list[str], uid: int, gid: int, capability: int | None, parent: int, when_parent_dies: int) -> NoReturn:
    try:
        become(uid, gid, capability)
    except OSError as error:
        sys.exit(f"Postgres refuses root, and this root cannot become uid {uid} with capability {capability}: {error}")
    if sys.platform == "linux":  # set last: changing the uid clears it
        _prctl(_PR_SET_PDEATHSIG, when_parent_dies)
        if os.getppid() != parent:
            sys.exit("the process that asked for this is gone")
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and execve would pass that on
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.umask(0o077)
    os.execv(argv[0], argv)


def command(argv: list[str], uid: int, gid: int, capability: int | None, when_parent_dies: int) -> list[str]:
    """Return the command line that runs `argv` as that user, from this process."""
    spec = {"argv": argv, "uid": uid, "gid": gid, "capability": capability,
            "parent": os.getpid(), "when_parent_dies": int(when_parent_dies)}  # fmt: skip
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "exec", json.dumps(spec)]


def number_in(path: Path, line: int = 0) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8").splitlines()[line])
    except (OSError, ValueError, IndexError):
        return None


def _arguments_of(pid: int) -> list[str] | None:
    """Return a process's command line; None if there is no such process, or only a zombie that its parent has not collected."""
    if sys.platform == "linux":
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return None
        return os.fsdecode(line.rstrip(b"\0")).split("\0") if line else None
    shown = subprocess.run(
        ["ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, encoding="utf-8", errors="replace", timeout=10
    )
    return shown.stdout.strip().split(" -D ", 1) if shown.stdout.strip() else None


def running_postmaster(data: Path) -> int | None:
    """Return the server's pid, if the process that postmaster.pid names is really a server of this folder and not a reused pid."""
    pid = number_in(data / "postmaster.pid")
    program, *arguments = (_arguments_of(pid) if pid else None) or [""]
    ours = program.endswith("/postgres") and any(f"{a} ".startswith(f"{data} ") for a in arguments)
    return pid if ours else None


def is_ready(data: Path, pid: int) -> bool:
    """Check the status line of postmaster.pid, so that nobody connects to a server that is still recovering."""
    with contextlib.suppress(OSError, IndexError):
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return lines[0] == str(pid) and lines[7].startswith("ready")
    return False


def stop_postmaster(pid: int, gone: Callable[[], bool]) -> bool:
    for sent, patience in STOPPING:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sent)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if gone():
                return True
            time.sleep(0.05)
    return False


def try_lock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Supervisor:
    def __init__(self, folder: Path, own_lock: int, spec: dict[str, Any]) -> None:
        self.folder, self.own_lock, self.spec = folder, own_lock, spec
        self.data = folder / "data"
        self.pid_file = self.data / "postmaster.pid"
        self.users = os.open(folder / "users.lock", os.O_RDWR | os.O_NOFOLLOW)
        self.asked_to_stop = False
        self.was_ready = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._note()
        crashed = self._clear_the_way()
        retry_until, kills = time.monotonic() + (CRASH_RETRY if crashed else 0), 0
        while True:
            server = self._spawn()
            why = self._watch(server)
            if why is not None:
                self._say(f"{why}: stopping Postgres")
                self._stop(server)
                break
            if server.returncode == 0:
                self._say("Postgres was stopped from outside")
                break
            ready = self.was_ready or is_ready(self.data, server.pid)
            # A SIGKILL before it is ready comes from outside too, and may come while it recovers from another.
            kills = 0 if ready else kills + (server.returncode == -signal.SIGKILL)
            if ready or (server.returncode == -signal.SIGKILL and kills <= KILLS):  # people still need it
                retry_until = time.monotonic() + CRASH_RETRY
            if time.monotonic() >= retry_until:
                self._say(f"Postgres ended with {server.returncode}: giving up")
                self._note(verdict=GAVE_UP)
                break
            self._say(f"Postgres ended with {server.returncode}: starting it again")
            time.sleep(TICK)
        with contextlib.suppress(OSError):
            self._clear_sockets()
            Path(self.spec["socket_dir"]).rmdir()
        os.close(self.own_lock)  # before users.lock is released: whoever gets that one must see no supervisor

    def _stop(self, server: subprocess.Popen[bytes]) -> None:
        if not stop_postmaster(server.pid, lambda: server.poll() is not None):
            self._say(f"Postgres {server.pid} does not stop, not even for SIGKILL")

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.was_ready = False
        # The server stops cleanly with its supervisor: users reach a new one through start(), and no server is left that nobody watches,
        # and so nobody would ever stop.
        line = command(self.spec["argv"], self.spec["uid"], self.spec["gid"], self.spec["capability"], signal.SIGINT)
        server = subprocess.Popen(line, stdin=subprocess.DEVNULL)
        self._note(server.pid)
        return server

    def _watch(self, server: subprocess.Popen[bytes]) -> str | None:
        """Return why the server should stop, or None when it ended by itself."""
        idle_since: float | None = None
        while server.poll() is None:
            time.sleep(TICK)
            self.was_ready = self.was_ready or is_ready(self.data, server.pid)
            if self.asked_to_stop:
                return "asked to"
            if self._folder_is_gone():
                return "its folder was removed"
            if not try_lock(self.users):
                idle_since = None
                continue
            idle_since = idle_since or time.monotonic()
            if time.monotonic() - idle_since >= LINGER:
                return "the last user is gone"  # with the lock kept: a newcomer waits until we are out of the way
            fcntl.flock(self.users, fcntl.LOCK_UN)
        return None

    def _clear_the_way(self) -> bool:
        """Clean up after an earlier server. True if it did not shut down cleanly: its backends may still hold the shared memory.

        Its supervisor may have been killed too; then the server is shutting down (on Linux) or waits for a signal.
        """
        until = time.monotonic() + 2
        while (pid := running_postmaster(self.data)) and time.monotonic() < until:
            time.sleep(0.05)
        if pid:
            self._say(f"stopping Postgres {pid}, which nobody watches")
            stop_postmaster(pid, lambda: running_postmaster(self.data) is None)
        # Postgres refuses to start while the pid in a leftover file is alive: a zombie that init has not collected, or, after a reboot,
        # another process. Its shared memory still tells it whether old backends live on.
        if named := number_in(self.pid_file):
            program = (_arguments_of(named) or ["gone"])[0]
            if "postgres" not in program:
                self._say(f"removing a stale postmaster.pid: process {named} is {program}")
                self.pid_file.unlink(missing_ok=True)
        self._clear_sockets()  # their lock file names the pid once more
        return named is not None

    def _clear_sockets(self) -> None:
        for leftover in Path(self.spec["socket_dir"]).glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)

    def _folder_is_gone(self) -> bool:
        try:
            return (self.folder / "supervisor.lock").stat().st_ino != os.fstat(self.own_lock).st_ino
        except FileNotFoundError:
            return True

    def _note(self, server: int | None = None, verdict: str = "") -> None:
        """Write line 1: our pid. Line 2: the server that we started, so that nobody takes a dying predecessor for it. Line 3: why there is
        none, so that whoever waits can tell our giving up from our being killed."""
        os.ftruncate(self.own_lock, 0)
        os.pwrite(self.own_lock, f"{os.getpid()}\n{server or ''}\n{verdict}\n".encode(), 0)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked_to_stop = True

    def _say(self, what: str) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        print(f"{now} [{os.getpid()}] SUPERVISOR: {what}", file=sys.stderr, flush=True)  # noqa: T201  (its stderr is the log)


def supervise(spec: dict[str, Any]) -> None:
    folder = Path(spec["folder"])
    lock = os.open(folder / "supervisor.lock", os.O_RDWR | os.O_NOFOLLOW)
    until = time.monotonic() + 1  # another process may be probing the lock
    while not try_lock(lock):
        if time.monotonic() > until:
            sys.exit("another supervisor is at work")
        time.sleep(0.02)
    # The child inherits the lock, so whoever started us knows when we return: held means alive. The child's parent is init, so that a
    # starter that lives for days keeps no zombie.
    if os.fork():
        os._exit(0)
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    Supervisor(folder, lock, spec).run()


def main(arguments: list[str]) -> None:
    verb, spec = arguments[0], json.loads(arguments[1])
    supervise(spec) if verb == "supervise" else become_and_exec(**spec)


if __name__ == "__main__":
    main(sys.argv[1:])
