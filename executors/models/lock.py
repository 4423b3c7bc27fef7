"""`models.lock.json`: the commit of each source at its first fetch, and the hash stated for each file.

A repository's branch may change, by its owner or by someone who took it over. So the first pull records what it was told, and later pulls
refuse any difference until a person passes `--update`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executors.errors import ModelFileError
from executors.models.files import write_json

LOCK = "models.lock.json"


class Refused(ModelFileError):
    """The source offers something else than was accepted before. Nothing was fetched from it."""


class Lock:
    def __init__(self, root: Path) -> None:
        self._path = root / LOCK
        try:
            self.sources: dict[str, dict[str, Any]] = json.loads(self._path.read_text(encoding="utf-8"))["sources"]
            if not isinstance(self.sources, dict):
                raise TypeError
        except FileNotFoundError:
            self.sources = {}
        except (ValueError, TypeError, KeyError) as error:
            raise ModelFileError(f"{LOCK}: cannot be read. Put it right or away; `ourvidz models pull` then writes a new one.") from error

    def commit(self, key: str) -> str:
        return str(self.sources.get(key, {}).get("commit", ""))

    def files(self, key: str) -> dict[str, str]:
        """Name under the model folder → the hash that this source stated (sha256, or git's blob hash)."""
        return dict(self.sources.get(key, {}).get("files", {}))

    def check(self, key: str, commit: str, hashes: Mapping[str, str]) -> None:
        """Raise `Refused` if this differs from what was accepted before. An unknown source passes."""
        if key not in self.sources:
            return
        before, files = self.commit(key), self.files(key)
        if before != commit:
            raise Refused(
                f"{key}: is at {commit[:12] or '(nothing)'} now, and was at {before[:12] or '(nothing)'} when it was accepted. "
                "`--update` takes the new one, `--locked` stays with the old one."
            )
        for name, hash_ in hashes.items():
            if name in files and hash_ and files[name] and files[name] != hash_:
                raise Refused(
                    f"{name}: {key} now states the hash {hash_[:12]}… where {files[name][:12]}… was accepted, for the same revision. "
                    "Somebody changed history: find out who before you say `--update`."
                )

    def accept(self, key: str, commit: str, hashes: Mapping[str, str]) -> None:
        """Record the source. Call before fetching, so that an interrupted pull resumes with the same files."""
        others = {other: held for other, held in self.sources.items() if other != key and not held["files"].keys() & hashes.keys()}
        self.sources = dict(sorted({**others, key: {"commit": commit, "files": dict(sorted(hashes.items()))}}.items()))
        write_json(self._path, {"sources": self.sources})
