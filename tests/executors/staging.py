"""Stage the order of executors' overlapping stages with events, never with sleeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from executor_site import ProbeShelf, Site
from waiting import LIMIT, wait_for

from executors.worker import Worker


def at_step(shelf: ProbeShelf, job_id: str, step: int, do: Callable[[], object]) -> None:
    """Call `do` on the device thread in that step of that job."""
    probe, before = shelf.sdxl, shelf.sdxl.step

    def stepped(done: int, total: int) -> None:
        if before is not None:
            before(done, total)
        if done == step and probe.works[-1].job_id == job_id:
            do()

    probe.step = stepped


def in_put(site: Site, job_id: str, do: Callable[[], object]) -> None:
    """Call `do` in the first upload of that job."""
    before, done = site.store.trouble, []

    def trouble(path: str) -> None:
        before(path)
        if job_id in path and not done:
            done.append(path)
            do()

    site.store.trouble = trouble


def soon(event: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        assert event.wait(LIMIT), "waited in vain for the other stage"

    return wait


def rounds(worker: Worker, count: int = 4) -> None:
    """Wait until the claiming thread has decided this many more times."""
    think, thought = worker._has_room, []

    def counted(room: Any) -> bool:
        thought.append(1)
        return think(room)

    worker._has_room = counted  # type: ignore[method-assign]
    wait_for(lambda: len(thought) >= count)


def claimed(site: Site, *job_ids: str) -> list[str]:
    return [job_id for job_id in job_ids if "claimed" in site.types(job_id)]
