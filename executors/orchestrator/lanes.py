"""Lanes closed on an executor because their model killed its process. Stored in a small file beside its lock, so that a full restart does
not cost three more crashes."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

from executors.orchestrator.policy import Crash, Rules, closes, remembered

log = logging.getLogger("ourvidz.up")


class Lanes:
    """Closed lanes and crashes of one executor. `closed` lanes are out of service until a person opens them."""

    def __init__(self, path: Path, rules: Rules) -> None:
        self._path, self._rules = path, rules
        self._crashes, self.closed = self._read()

    @property
    def last_crash(self) -> Mapping[str, float]:
        """Lane → when its model last killed the process, in seconds since the epoch."""
        return {lane: crashes[-1].at for lane, crashes in self._crashes.items() if crashes}

    def jobs(self, lane: str) -> list[str]:
        """Return the jobs that were running at this lane's crashes."""
        return list(dict.fromkeys(job for crash in self._crashes.get(lane, ()) for job in crash.jobs))

    def crashed(self, blamed: Mapping[str, Crash], served: Collection[str]) -> list[str]:
        """Record a crash. Returns the lanes that it closes."""
        closing: list[str] = []
        if not blamed:
            return closing
        for lane, crash in blamed.items():
            self._crashes[lane] = remembered(self._crashes.get(lane, ()), crash, served=lane in served, rules=self._rules)
            if lane not in self.closed and closes(self._crashes[lane], self._rules):
                self.closed |= {lane}
                closing.append(lane)
        self._write()
        return closing

    def open(self) -> list[str]:
        """Open all lanes. Returns those that were closed."""
        opened, self.closed, self._crashes = sorted(self.closed), frozenset(), {}
        self._path.unlink(missing_ok=True)
        return opened

    def _read(self) -> tuple[dict[str, tuple[Crash, ...]], frozenset[str]]:
        try:
            told = json.loads(self._path.read_text(encoding="utf-8"))
            crashes = {lane: tuple(Crash(c["at"], tuple(c["jobs"]), c["loading"]) for c in all_) for lane, all_ in told["crashes"].items()}
            return crashes, frozenset(told["closed"])
        except FileNotFoundError:
            return {}, frozenset()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read (%s): every lane counts as open.", self._path, error)
            return {}, frozenset()

    def _write(self) -> None:
        told = {"closed": sorted(self.closed), "crashes": {lane: [asdict(c) for c in all_] for lane, all_ in self._crashes.items()}}
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
            os.replace(new, self._path)  # noqa: PTH105  (atomic)
        except OSError as error:
            log.warning("What crashed could not be kept in %s: %s", self._path, error)
