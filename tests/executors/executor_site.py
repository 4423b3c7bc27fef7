"""Shared by the executors' tests: a site with workers, probes that count a family's calls, and a fork server for real kills."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from fork_processes import Forked, Forks
from PIL import Image
from support import Permissive, as_job, events, new_user, row, types
from waiting import LIMIT, wait_for

from executors.heartbeat import Hold
from executors.models.base import Family, OnStep, Output, Work
from executors.shelf import Shelf
from executors.worker import Worker
from ourvidz.db import safety
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs, NewJob
from ourvidz.safety.screen import PromptScreen
from ourvidz.storage.base import ArtifactStore, Stored
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS
from state.events import GENESIS, event_hash
from state.job import fold

PROMPT = "a lighthouse at dusk"
SEED = 4711
FAST = {"backoff_base": 0.01, "backoff_max": 0.05, "heartbeat": 0.3, "control_poll": 0.1}


class Silence:
    """A Listener that never gets a notification, as behind a transaction pooler."""

    def __init__(self, *_: object) -> None: ...

    def close(self) -> None: ...


class Probe:
    """A family that records its jobs. `step(done, total)` is called within each step, before the executor is told."""

    def __init__(self, family: Family, step: OnStep | None = None) -> None:
        self.family, self.step, self.name = family, step, family.name
        self.works: list[Work] = []
        self.passes: list[list[str]] = []
        self.steps = 0
        self.outputs = 0

    @property
    def seeds(self) -> list[int]:
        return [seed for work in self.works for seed in work.seeds]

    def load(self) -> None:
        self.family.load()

    def unload(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        return self.family.describe()

    def generate(self, work: Work, on_step: OnStep) -> Iterator[Output]:
        self.works.append(work)

        def stepped(done: int, total: int) -> None:
            self.steps += 1
            if self.step is not None:
                self.step(done, total)
            on_step(done, total)

        for output in self.family.generate(work, stepped):
            self.outputs += 1
            yield output

    def together(self, work: Work) -> Hashable | None:
        return self.family.together(work)

    def generate_together(self, works: Sequence[Work], on_steps: Sequence[OnStep]) -> Iterator[tuple[int, Output | Exception]]:
        self.passes.append([work.job_id for work in works])
        return self.family.generate_together(works, on_steps)


class ProbeShelf(Shelf):
    """The session's loaded models behind probes of its own."""

    def __init__(self, loaded: Shelf, step: OnStep | None = None) -> None:
        vars(self).update(vars(loaded))  # skips the check of the files, done before: saves a tenth of a second each time
        self.status, self._closed = dict(loaded.status), set()
        self.probes = {name: Probe(family, step) for name, family in loaded._families.items()}
        self._families = {**loaded._families, **self.probes}

    @property
    def sdxl(self) -> Probe:
        return self.probes["sdxl"]

    @property
    def wan(self) -> Probe:
        return self.probes["wan"]


class Breaks:
    """An enhancer with a bug."""

    def enhance(self, *_: object, **__: object) -> object:
        raise KeyError("a token that is not there")


class CountingStore(FolderStore):
    """Records the paths put, and fails a put if `trouble(path)` raises."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, BUCKETS)
        self.puts: list[str] = []
        self.trouble: Callable[[str], None] = lambda _: None

    def put(self, bucket: str, path: str, source: Path, media_type: str) -> Stored:
        self.puts.append(path)
        self.trouble(path)
        return super().put(bucket, path, source, media_type)


class Site:
    def __init__(self, database: Database, loaded: Shelf, root: Path) -> None:
        self.db, self.loaded, self.root = database, loaded, root
        self.jobs = Jobs(database, Permissive(), patience=20)
        self.user = new_user(database, "premium")
        self.store = CountingStore(root / "store")
        self.policy(**FAST)
        self._threads: list[tuple[Worker, threading.Thread]] = []

    def policy(self, **figures: float) -> None:
        self.db.rows(f"update ourvidz.policy set {', '.join(f'{name} = %s' for name in figures)}", tuple(figures.values()))

    def no_second_try(self) -> None:
        """Delay retries by an hour, so that the state after the first attempt can be checked."""
        self.policy(backoff_base=3600, backoff_max=3600)

    def submit(self, job_type: str = "sdxl_image_fast", *, prompt: str = PROMPT, steps: int = 1, **settings: Any) -> str:
        for address in settings.get("references", {}).values():
            if address.split("/")[0] in BUCKETS and (file := self.root / "store" / address).is_file():
                self.attest(file.read_bytes())
        return self.jobs.submit(NewJob(self.user, job_type, prompt, settings={"steps": steps, "seed": SEED, **settings})).id

    def attest(self, picture: bytes) -> None:
        """Attest the user's consent: otherwise no executor opens the image."""
        safety.attest(self.db, self.user, hashlib.sha256(picture).hexdigest(), "test")

    def worker(self, name: str = "second", *, home: str = "", shelf: Shelf | None = None, **more: Any) -> Worker:
        """An executor in this process. Another `home` stands for another host."""
        screen: PromptScreen = more.pop("screen", Permissive())
        store: ArtifactStore = more.pop("store", self.store)
        jobs = more.pop("jobs", None) or Jobs(self.db, screen, patience=20)
        return Worker(jobs, store, shelf or ProbeShelf(self.loaded), self.root / (home or name), name=name, **more)

    def work(self, *job_ids: str, **more: Any) -> ProbeShelf:
        """Run an executor until these jobs have ended; return its shelf with the record."""
        worker = self.worker(**more)
        worker.run(until=job_ids)
        return worker.shelf  # type: ignore[return-value]

    def start(self, worker: Worker, *job_ids: str) -> threading.Thread:
        """The same in a thread. The worker is drained when the test ends."""
        thread = threading.Thread(target=worker.run, kwargs={"until": job_ids or None}, daemon=True)
        thread.start()
        self._threads.append((worker, thread))
        return thread

    def close(self) -> None:
        for worker, thread in self._threads:
            worker.stop()
            worker.stop()
            thread.join(LIMIT)
            assert not thread.is_alive(), "an executor does not leave"

    # -- a job's result ---------------------------------------------------------------------------------------------------------------

    def row(self, job_id: str) -> dict[str, Any]:
        return row(self.db, job_id)

    def types(self, job_id: str) -> list[str]:
        return types(self.db, job_id)

    def said(self, job_id: str) -> str:
        return self.db.rows("select error_message from public.job_payloads where job_id = %s", (job_id,))[0]["error_message"]

    def artifacts(self, job_id: str) -> list[dict[str, Any]]:
        return self.jobs.artifacts(job_id)

    def data(self, job_id: str, event: str) -> list[dict[str, Any]]:
        return [dict(e.data) for e in events(self.db, job_id) if e.type == event]

    def pixels(self, job_id: str) -> list[np.ndarray]:
        images = [a for a in self.artifacts(job_id) if a["kind"] == "image"]
        return [np.asarray(Image.open(io.BytesIO(self.store.read(a["bucket"], a["path"])))).astype(int) for a in images]

    def intact(self, job_id: str) -> None:
        """The chain verifies, and the row equals the folded events."""
        told = events(self.db, job_id)
        assert [e.version for e in told] == list(range(1, len(told) + 1))
        previous = GENESIS
        for event in told:
            assert event.prev_hash == previous
            assert event.hash == event_hash(event)
            previous = event.hash
        assert fold(told, job_id) == as_job(self.row(job_id))

    def completed(self, job_id: str, images: int = 1, stores: tuple[ArtifactStore, ...] = ()) -> None:
        """Completed once and fully: every output is where its row says, byte for byte, with the requested seeds."""
        self.intact(job_id)
        assert self.row(job_id)["status"] == "completed", (self.types(job_id), self.said(job_id))
        assert self.types(job_id).count("completed") == 1
        artifacts = self.artifacts(job_id)
        assert len(artifacts) == 2 * images
        for a in artifacts:
            assert a["uploaded_at"] is not None
            found = [s for store in stores or (self.store,) if (s := store.stat(a["bucket"], a["path"])) is not None]
            assert [(s.sha256, s.bytes) for s in found] == [(a["sha256"], a["bytes"])]
            assert a["seed"] == SEED + a["index"]


def held(worker: Worker, job_id: str) -> Hold:
    """The worker's hold on its claim of this job."""
    assert worker.heartbeat is not None
    (hold,) = (h for h in list(worker.heartbeat.holds.values()) if h.claim.job_id == job_id)
    return hold


def cancel_learned(site: Site, worker: Worker, job_id: str) -> None:
    """Request the job's cancel and wait until its executor has learned of it."""
    hold = held(worker, job_id)
    site.jobs.cancel(job_id)
    wait_for(lambda: hold.cancelled, "for the cancel to be learned")


# -- executors that can be killed ------------------------------------------------------------------------------------------------------


class Child(Forked):
    """An executor in a separate process."""

    def stopped(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


class Zygote:
    """`fork_server.py` as a subprocess: has everything imported and loaded, and forks executors, enhancers and `ourvidz up`."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self._children: list[Child] = []

    def __enter__(self) -> Zygote:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(self.models), str(theirs.fileno())]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",  # no thread pools: forked processes would lack them
        }  # fmt: skip
        self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), env=environment)
        theirs.close()
        self._server = Forks(ours)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in self._children:
            child.kill()
        self._server.close()
        self._process.wait(LIMIT)

    def start(self, kind: str, argv: Sequence[str] = (), env: Mapping[str, str] = os.environ, output: int = 2, **spec: Any) -> Child:
        """Start a child of this process that writes to the file descriptor `output`."""
        self._children.append(Child(self._server.start(argv, env, output, kind=kind, spec=spec)))
        return self._children[-1]

    def spawn(self, url: str, home: Path, store: Path, **spec: Any) -> Child:
        """Start an executor of crash_worker.py."""
        return self.start("executor", url=url, home=str(home), store=str(store), **{"name": "first", **spec})


@contextmanager
def running(child: Child) -> Iterator[Child]:
    """Kill it at the end, whatever its state."""
    try:
        yield child
    finally:
        child.kill()
        child.wait()
