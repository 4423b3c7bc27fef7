"""Progress reporting: to the observer at the terminal, and to the executor's row, which shows its current job."""

from __future__ import annotations

import logging
import threading
from typing import Any

from ourvidz.progress import Observer, Progress

log = logging.getLogger("ourvidz.worker")

ON_DEVICE = ("loading", "enhancing", "generating")


class ProgressReport:
    """Progress of several jobs, from several threads; the observer is called by one thread at a time."""

    def __init__(self, observe: Observer | None) -> None:
        self._observe = observe or (lambda _: None)
        self._lock = threading.Lock()
        self._latest: dict[str, Progress] = {}

    def see(self, progress: Progress) -> None:
        self._latest.pop(progress.job_id, None)
        self._latest[progress.job_id] = progress
        with self._lock:
            try:
                self._observe(progress)
            except Exception as error:  # noqa: BLE001  (e.g. a closed terminal: no reason to fail the job)
                log.warning("Nobody watches any more: %s: %s", type(error).__name__, error)
                self._observe = lambda _: None

    def forget(self, job_id: str) -> None:
        self._latest.pop(job_id, None)

    def report(self) -> dict[str, Any]:
        """Return the progress for the executor's row: of the job that moved last, a job on the device before all others."""
        latest = list(self._latest.values())[::-1]
        if not latest:
            return {}
        shown = next((p for p in latest if p.stage in ON_DEVICE), latest[0])
        return {"job": shown.job_id, "stage": shown.stage, "done": shown.done, "total": shown.total}
