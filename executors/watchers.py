"""Who looks on: the person at the terminal, and the executor's row, which says what it is at."""

from __future__ import annotations

import logging
import threading
from typing import Any

from ourvidz.progress import Observer, Progress

log = logging.getLogger("ourvidz.worker")

ON_DEVICE = ("loading", "enhancing", "generating")


class Watchers:
    """Progress of several jobs at once, from several threads; an observer hears one at a time."""

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
            except Exception as error:  # noqa: BLE001  (a terminal that was closed, say: no reason to fail the job)
                log.warning("Nobody watches any more: %s: %s", type(error).__name__, error)
                self._observe = lambda _: None

    def forget(self, job_id: str) -> None:
        self._latest.pop(job_id, None)

    def report(self) -> dict[str, Any]:
        """What the executor's row says: the job that moved last, one on the device before all others."""
        latest = list(self._latest.values())[::-1]
        if not latest:
            return {}
        shown = next((p for p in latest if p.stage in ON_DEVICE), latest[0])
        return {"job": shown.job_id, "stage": shown.stage, "done": shown.done, "total": shown.total}
