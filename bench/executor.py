"""Idle time of the device, changes of family and cancel latency of an executor on the CPU, with tiny models, a real database, and slowed
uploads.

    python -m bench.executor [--scale 1.0] [--save]

Aims: with a backlog and 500 ms per upload the device idles under 5 % of its time; over 60 interleaved jobs affinity avoids most changes of
family, and no job waits longer for it; a cancel stops the device within a step of being learned.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from bench.device import Device
from bench.ground import connect, ground, hands, profile
from bench.report import machine, save, table
from executors.models.base import Family
from executors.models.tiny import make_tiny
from executors.shelf import LANES, Shelf
from executors.worker import Worker
from ourvidz.lifecycle import Held, Jobs, NewJob
from ourvidz.storage.base import Stored
from ourvidz.storage.folder import FolderStore
from state.catalog import BUCKETS, JOB_TYPES

PROMPT = "a lighthouse in a storm"
UPLOAD = 0.5  # seconds, added to every object that is put
LOAD = 0.3  # seconds, added to every change of family: tiny models load in no time
WORK = 1.3  # device seconds per upload second in a backlog; under 1, no overlap could keep the device busy


class SlowStore(FolderStore):
    """A store that takes `delay` seconds longer for each object, as over a network."""

    def __init__(self, root: Path, delay: float) -> None:
        super().__init__(root, BUCKETS)
        self.delay, self.seconds, self.puts = delay, 0.0, 0

    def put(self, bucket: str, path: str, source: Path, media_type: str) -> Stored:
        begun = time.perf_counter()
        time.sleep(self.delay)
        try:
            return super().put(bucket, path, source, media_type)
        finally:
            self.seconds, self.puts = self.seconds + time.perf_counter() - begun, self.puts + 1


class OneFamily(Shelf):
    """A shelf that holds one family at a time, and takes `cost` seconds to change it. Without `affinity` it reports none as resident."""

    def __init__(self, root: Path, cost: float, affinity: bool) -> None:
        super().__init__(root)
        self.cost, self.affinity, self.order = cost, affinity, list[str]()

    @property
    def resident(self) -> list[str]:
        return super().resident if self.affinity else []

    def family(self, lane: str) -> Family:
        name = LANES[lane].family
        if self.order[-1:] != [name]:
            self.residency.clear()
            self.order.append(name)
            time.sleep(self.cost)
        return super().family(lane)

    @property
    def switches(self) -> int:
        return max(0, len(self.order) - 1)


@dataclass(frozen=True)
class Site:
    """A database, tiny models, and a working folder."""

    url: str
    jobs: Jobs
    user: str
    root: Path
    models: Path

    def submit(self, job_type: str, **settings: Any) -> str:
        """Submit in a transaction of its own, so that no two jobs have the same timestamp."""
        return self.jobs.submit(NewJob(self.user, job_type, PROMPT, settings={"seed": 7, **settings})).id

    def worker(self, name: str, store: FolderStore | None = None, shelf: Shelf | None = None) -> Worker:
        store = store or FolderStore(self.root / name / "store", BUCKETS)
        return Worker(hands(self.url), store, shelf or Shelf(self.models), self.root / name / "home", name=name)

    def policy(self, **figures: float) -> None:
        with connect(self.url) as connection:
            for name, value in figures.items():
                connection.execute(f"update ourvidz.policy set {name} = %s", (value,))

    def ended(self, job_ids: Sequence[str], status: str) -> None:
        with connect(self.url) as connection:
            rows = connection.execute("select distinct status from public.jobs where id = any (%s::uuid[])", (list(job_ids),)).fetchall()
        assert rows == [(status,)], f"not all jobs are {status}: {rows}"


@contextmanager
def site() -> Iterator[Site]:
    torch.set_num_threads(1)  # as `ourvidz worker` does for tiny models
    with ground() as url, tempfile.TemporaryDirectory(prefix="ourvidz-bench-") as folder:
        make_tiny(Path(folder) / "models", lambda _: None, random=True)  # smaller than the trained ones: the model takes less of the time
        with connect(url) as connection:
            user = profile(connection)
        yield Site(url, hands(url), user, Path(folder), Path(folder) / "models")


# -- (i) the device with a backlog ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backlog:
    """Times in seconds. `in_turn`: the share that the device would idle if its work and the uploads simply followed one another."""

    upload: float
    jobs: int
    device_per_job: float
    uploads_per_job: float
    span: float
    idle: float
    in_turn: float


KIND = JOB_TYPES["video_fast"]
UPLOADS = 2  # objects of such a job: the video and its thumbnail


def backlog(site: Site, jobs: int, upload: float, steps: int, shelf: Shelf | None = None) -> Backlog:
    """Run one executor on `jobs` jobs of `KIND`, all queued from the start."""
    store = SlowStore(Path(tempfile.mkdtemp(dir=site.root)), upload)
    ids = [site.submit(KIND.name, steps=steps) for _ in range(jobs)]
    with Device().watched() as device:
        site.worker("backlog", store, shelf).run(until=ids)
    site.ended(ids, "completed")
    device_s, upload_s = device.seconds / jobs, store.seconds / jobs
    return Backlog(upload, jobs, device_s, upload_s, device.span, device.idle, upload_s / (device_s + upload_s))


def enough_steps(site: Site, shelf: Shelf) -> int:
    """Number of steps that makes the device work `WORK` times as long as the uploads take, on this machine, within a job's limits."""
    short, long = (backlog(site, 2, 0.0, steps, shelf).device_per_job for steps in (5, 25))
    each = max((long - short) / 20, 1e-4)
    wanted = 5 + (WORK * UPLOADS * UPLOAD - short) / each
    return min(KIND.steps_max, max(5, ceil(wanted)))


# -- (ii) changes of family -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixed:
    """Waits in seconds, from submit to claim."""

    affinity: bool
    bound: float
    switches: int
    longest_wait: float
    median_wait: float
    span: float


def mixed(site: Site, name: str, jobs: int, *, affinity: bool, bound: float, load: float = LOAD) -> Mixed:
    """Run `jobs` jobs, sdxl and wan alternating, on an executor that holds one family at a time."""
    site.policy(affinity_wait=bound)
    shelf = OneFamily(site.models, load, affinity)
    ids = [site.submit(("sdxl_image_fast", "image_fast")[n % 2], steps=2) for n in range(jobs)]
    with Device().watched() as device:
        site.worker(name, shelf=shelf).run(until=ids)
    site.ended(ids, "completed")
    with connect(site.url) as connection:
        sql = """select extract(epoch from min(occurred_at) filter (where type = 'claimed') - min(occurred_at))::float
                 from public.job_events where job_id = any (%s::uuid[]) group by job_id"""
        waits = [row[0] for row in connection.execute(sql, (ids,)).fetchall()]
    return Mixed(affinity, bound, shelf.switches, max(waits), median(waits), device.span)


# -- (iii) from a cancel to the device's stop -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cancel:
    """Numbers of steps that ended after each moment, counting the step in progress at it. Times in seconds."""

    step: float
    learned_after: float
    steps_after_commit: int
    steps_after_learning: int


def cancel(site: Site, number: int, steps: int = 40) -> Cancel:
    """Cancel a video at some point of its fourth step. The executor learns of it by NOTIFY, as with a session connection."""
    job_id = site.submit("video_fast", steps=steps)
    worker = site.worker(f"cancel-{number}")
    committed, learned = list[float](), list[float]()
    go = threading.Event()

    def asks() -> None:
        go.wait(60)
        time.sleep(number % 5 * 0.02)  # not always at the same point of a step
        site.jobs.cancel(job_id)
        committed.append(time.perf_counter())

    def held(jobs: Jobs, executor_id: str) -> dict[str, Held]:
        answer = looked(jobs, executor_id)
        if any(hold.cancel_requested for hold in answer.values()):
            learned.append(time.perf_counter())
        return answer

    looked = Jobs.held
    person = threading.Thread(target=asks)
    person.start()
    with Device().watched() as device, patch.object(Jobs, "held", held):
        device.on_step = lambda done, total: go.set() if done == 3 else None
        worker.run(until=[job_id])
    person.join()
    site.ended([job_id], "cancelled")
    gaps = [after - before for before, after in zip(device.steps, device.steps[1:], strict=False)]

    def after(moment: float) -> int:
        return sum(step > moment for step in device.steps)

    return Cancel(median(gaps), learned[0] - committed[0], after(committed[0]), after(learned[0]))


# -- the table --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    backlogs: list[Backlog]
    mixes: list[Mixed]
    cancels: list[Cancel]

    def rows(self) -> list[tuple[Any, ...]]:
        made: list[tuple[Any, ...]] = []
        for b in self.backlogs:
            each = f"{b.jobs} jobs of {b.device_per_job:.2f} s device, {b.uploads_per_job:.2f} s upload"
            aim = "≤ 5.00" if b.upload else None
            made.append((f"device idle, {b.upload * 1000:.0f} ms an upload, %", 100 * b.idle, aim, 100 * b.in_turn, each))
        apart = next((m for m in self.mixes if not m.affinity), None)
        for m in self.mixes:
            how = f"affinity up to {m.bound:g} s" if m.affinity else "no affinity"
            beside = apart if apart is not m else None
            made.append((f"changes of family, {how}", m.switches, None, beside and beside.switches, f"in {m.span:.1f} s"))
            made.append((f"longest wait, {how}, s", m.longest_wait, None, beside and beside.longest_wait, f"median {m.median_wait:.1f} s"))
        step = median(c.step for c in self.cancels)
        learned = f"learned {1000 * median(c.learned_after for c in self.cancels):.0f} ms after the commit, a step is {1000 * step:.0f} ms"
        for name, counts in (
            ("steps that end after a cancel is learned, worst", [c.steps_after_learning for c in self.cancels]),
            ("steps that end after its commit, worst", [c.steps_after_commit for c in self.cancels]),
        ):
            made.append((name, max(counts), "≤ 1" if "learned" in name else None, None, f"{len(counts)} cancels; {learned}"))
        return made


HEAD = ("figure", "measured", "aim", "without it", "how")


def measure(site: Site, scale: float = 1.0, say: Callable[[str], None] = print) -> Figures:
    """`scale` shrinks the numbers of jobs, for a quick look."""
    jobs, many = max(2, round(12 * scale)), max(4, round(60 * scale))
    usual = site.jobs.policy().affinity_wait
    say("A backlog, with and without slow uploads …")
    shelf = Shelf(site.models)
    steps = enough_steps(site, shelf)
    backlogs = [backlog(site, jobs, upload, steps, shelf) for upload in (0.0, UPLOAD)]
    say("A mixed queue, with and without affinity …")
    mixes = [
        mixed(site, "mixed-0", many, affinity=False, bound=usual),
        mixed(site, "mixed-1", many, affinity=True, bound=usual),
        mixed(site, "mixed-2", many, affinity=True, bound=2.0),
    ]
    site.policy(affinity_wait=usual)
    say("Cancels …")
    return Figures(backlogs, mixes, [cancel(site, number) for number in range(max(1, round(8 * scale)))])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the jobs; 0.1 for a quick look, whose figures say little")
    parser.add_argument("--save", action="store_true", help="keep the table under bench/results/")
    asked = parser.parse_args(argv)
    with site() as place:
        figures = measure(place, asked.scale, lambda line: print(line, flush=True))
    title = f"An executor on the CPU, tiny models; simulated: {UPLOAD:g} s an upload, {LOAD:g} s a change of family"
    made = table(title, HEAD, figures.rows())
    if asked.save:
        print(f"\nKept as {os.path.relpath(save('executor', machine(), json.loads(json.dumps(asdict(figures))), [made]))}")


if __name__ == "__main__":
    main()
