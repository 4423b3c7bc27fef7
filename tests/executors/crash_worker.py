"""Executors that die, stop or fail at a named point, in processes forked by `fork_server.py`.

Production code has no hooks for this: the points are in subclasses.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from support import Permissive
from waiting import LIMIT

import ourvidz.storage.folder
from executors.errors import Cancelled
from executors.heartbeat import Drained
from executors.shelf import Shelf
from executors.spool import Spool
from executors.worker import Worker, handle_signals
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs
from ourvidz.progress import Progress
from ourvidz.storage.base import StorageUnavailable, Stored
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS

T = TypeVar("T")


class Points:
    """Where to die (`die`) and where to fail (`trip`): [when, verb, nth], counted from 1; `trip` adds the action there. Where to block
    forever (`hold`): [verb, job]; `die` takes effect once a thread blocks there."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.hold, self.held = tuple(spec.get("hold") or ()), threading.Event()
        self.die = tuple(spec.get("die") or ())
        self.trip = tuple(spec.get("trip") or ())
        self.seen: Counter[tuple[str, str]] = Counter()
        self.stumble: Callable[[str], None] = lambda _: None

    def pass_by(self, when: str, verb: str) -> None:
        self.seen[when, verb] += 1
        here = (when, verb, self.seen[when, verb])
        if here == self.die:
            if self.hold:
                self.held.wait(LIMIT)
            os.kill(os.getpid(), signal.SIGKILL)
        if here == self.trip[:3]:
            self.stumble(self.trip[3])

    def keep(self, verb: str, what: str) -> None:
        if self.hold and self.hold[0] == verb and self.hold[1] in what:
            self.held.set()
            threading.Event().wait()

    def around(self, verb: str, call: Callable[[], T]) -> T:
        self.pass_by("before", verb)
        result = call()
        if verb != "claim" or result:  # an empty answer is not a claim
            self.pass_by("after", verb)
        return result


class CrashJobs(Jobs):
    points: Points

    def claim(self, *args: Any, **more: Any) -> list[Claim]:
        return self.points.around("claim", lambda: Jobs.claim(self, *args, **more))

    def advance(self, claim: Claim, event: str, **data: Any) -> None:
        self.points.around(event, lambda: Jobs.advance(self, claim, event, **data))


def _guarded(name: str) -> Callable[..., Any]:
    verb = getattr(Jobs, name)
    return lambda self, *args, **more: self.points.around(name, lambda: verb(self, *args, **more))


for _name in ("enhanced", "artifact_generated", "artifact_uploaded", "complete", "fail", "snooze", "honour_cancel"):
    setattr(CrashJobs, _name, _guarded(_name))


class CrashStore(FolderStore):
    points: Points
    flaky = 0.0  # probability that the store does not answer

    def put(self, *args: Any) -> Stored:
        self.points.keep("put", args[1])
        if random.random() < self.flaky:
            raise StorageUnavailable("the store does not answer")
        return self.points.around("put", lambda: FolderStore.put(self, *args))


class CrashSpool(Spool):
    points: Points

    def write(self, job_id: str, name: str, fill: Callable[[Path], object]) -> tuple[Path, str]:
        self.points.keep("spool", job_id)

        def half(path: Path) -> None:
            fill(path)
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
            self.points.pass_by("inside", "spool")
            path.write_bytes(whole)

        return super().write(job_id, name, half)


def _half_copy(points: Points) -> None:
    """Die after writing half of an object."""
    whole_copy = ourvidz.storage.folder._copy

    def copy(source: Any, fd: int, *rest: Any) -> Any:
        os.write(fd, source.read(100))
        points.pass_by("inside", "put")
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        source.seek(0)
        return whole_copy(source, fd, *rest)

    ourvidz.storage.folder._copy = copy


def executor(shelf: Shelf, **spec: Any) -> None:
    home = Path(spec["home"])
    home.mkdir(parents=True, exist_ok=True)
    if uid := spec.get("uid"):
        os.chown(home, uid, uid)
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    log = os.open(home / f"log-{spec['name']}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    revive = None
    if spec.get("embedded"):
        from ourvidz.db.embedded import embedded_url

        embedded_url(Path(spec["embedded"]))  # a separate user of the server: it outlives the others
        revive = lambda: embedded_url(Path(spec["embedded"]))  # noqa: E731
    points = Points(spec)
    jobs = CrashJobs(Database(spec["url"], revive=revive), Permissive())
    store = CrashStore(Path(spec["store"]), BUCKETS)
    jobs.points = store.points = points
    store.flaky = spec.get("flaky", 0.0)
    random.seed(f"{spec.get('seed')}/{os.getpid()}")
    _half_copy(points)

    stop_at = spec.get("stop_at_step")
    steps = 0

    def observe(progress: Progress) -> None:
        nonlocal steps, stop_at
        if progress.stage == "generating" and progress.done:
            steps += 1
            (home / "steps").write_text(str(steps))
            if progress.done == spec.get("hang_at_step"):
                threading.Event().wait()
            if stop_at and progress.done == stop_at:
                stop_at = None
                os.kill(os.getpid(), signal.SIGSTOP)

    if limit := spec.get("file_limit"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    worker = Worker(jobs, store, shelf, home, name=spec["name"], observe=observe, own_process=spec.get("own_process", False))
    worker.spool = CrashSpool(home / "spool", worker.policy.spool_bytes)
    worker.spool.points = points
    job = spec.get("until") or []

    def stumble(what: str) -> None:
        if what == "cancel":
            jobs.cancel(job[0])
            raise Cancelled(job[0])
        raise Drained if what == "drain" else RuntimeError("tripped on purpose")

    points.stumble = stumble
    handle_signals(worker)
    worker.run(until=job or None)
