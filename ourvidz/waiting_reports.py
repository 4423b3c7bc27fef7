"""Report what a process of this machine waits for, to `ourvidz top` and `ourvidz doctor`: a small file for each part, under the home.

A file, not a row: a part may wait for the database itself. Each file has an expiry, so that one of a killed part is not believed.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SLACK = 60.0  # seconds after its next try within which a live part has reported again


@dataclass(frozen=True)
class Trouble:
    """`since` and `until` are seconds since 1970, by this machine's clock."""

    part: str
    said: str
    since: float
    until: float


class Troubles:
    """`home` None: nothing is written."""

    def __init__(self, home: Path | None) -> None:
        self._folder = None if home is None else home / "troubles"

    def say(self, part: str, said: str, wait: float) -> None:
        """Report that `part` waits for something, and tries again in `wait` seconds. Errors of the file system are ignored."""
        if self._folder is None:
            return
        now, before = time.time(), _read(self._folder / f"{part}.json")
        trouble = Trouble(part, said, before.since if before and before.until > now else now, now + wait + SLACK)
        with contextlib.suppress(OSError):  # a full disk may be the very trouble
            self._folder.mkdir(parents=True, exist_ok=True)
            new = self._folder / f".{part}.new"
            new.write_text(json.dumps(asdict(trouble)), encoding="utf-8")
            new.replace(self._folder / f"{part}.json")

    def over(self, part: str) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / f"{part}.json").unlink(missing_ok=True)

    def now(self) -> list[Trouble]:
        """Return the current troubles of this machine's parts, by name."""
        found = [_read(path) for path in sorted(self._folder.glob("*.json"))] if self._folder is not None else []
        return [trouble for trouble in found if trouble is not None and trouble.until > time.time()]


def _read(path: Path) -> Trouble | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return Trouble(str(said["part"]), str(said["said"]), float(said["since"]), float(said["until"]))
    except (OSError, ValueError, KeyError, TypeError):  # gone meanwhile, or not one of ours
        return None
