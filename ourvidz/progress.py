"""Progress inside a job's steps, for people who watch. Never an event, never stored with the job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """An executor's progress on a job. `stage` is a status of the job, or a word for what it waits for (loading models …)."""

    job_id: str
    job_type: str
    stage: str
    done: int = 0
    total: int = 0  # 0: unknown, or not countable
    note: str = ""


Observer = Callable[[Progress], None]
