"""The heads file: each job's last hash, kept outside the database, to detect a cut tail or a missing job.

Lines of JSON. A head is {"job_id", "version", "hash", "chain"}; a publication ends with {"xid", "seq", "database", "chain"}, the place in
the database's events from which the next one goes on, and the database's id. {"job_id", "lost_from", "reason", "chain"} says that an
operator accepted the loss of a job's events from that version on: earlier heads that contradict it no longer count. `chain` is a running
SHA-256 over the file so far, so that an edited, missing or moved line is detected at that line, and a publication that was cut short at the
file's end. The file cannot show that whole publications are missing from its end: keep it, or copies of it, where those who can change the
database cannot reach (object storage with retention, another host).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

from state.errors import JobError

GENESIS: Final = "0" * 64


@dataclass(frozen=True)
class Head:
    job_id: str
    version: int
    hash: bytes


@dataclass(frozen=True)
class Damage:
    """The file is not what was written. `line` counts from 1."""

    line: int
    message: str


@dataclass(frozen=True)
class Loss:
    """Accepted loss: the job's events from `version` on are missing, or are others."""

    job_id: str
    version: int


def read(path: Path, size: int) -> Iterator[Head | Damage]:
    """Yield the heads in the first `size` bytes that still count, and any damage of the file itself. Constant memory, except for accepted
    losses."""
    chain, number, ended, taken = GENESIS, 0, True, 0
    lost = _losses(path, size)
    with path.open("rb") as file:
        for raw in file:
            taken += len(raw)
            if taken > size:
                break
            number += 1
            line = _parsed(raw)
            if line is None:
                yield Damage(number, f"Line {number} of the heads file is no whole line of it: the file was cut or edited there.")
                chain, ended = "", True
                continue
            if chain and line["chain"] != _link(chain, line):
                yield Damage(
                    number, f"Line {number} of the heads file does not follow the one before: a line was edited, added or taken out."
                )
            chain = line["chain"]  # go on from here: one finding for one change
            ended = "job_id" not in line
            if "hash" in line and not any(number < at and line["version"] >= version for at, version in lost.get(line["job_id"], ())):
                yield Head(line["job_id"], line["version"], bytes.fromhex(line["hash"]))
    if not ended:
        yield Damage(number, f"The heads file ends in the middle of a publication, after line {number}: its end was cut off.")


def _losses(path: Path, size: int) -> dict[str, list[tuple[int, int]]]:
    """For each job whose loss was accepted: at which line, from which version on."""
    found: dict[str, list[tuple[int, int]]] = {}
    with path.open("rb") as file:
        taken = 0
        for number, raw in enumerate(file, 1):
            taken += len(raw)
            if taken <= size and b'"lost_from"' in raw and (line := _parsed(raw)) is not None:
                found.setdefault(line["job_id"], []).append((number, line["lost_from"]))
    return found


def belongs_to(path: Path) -> str | None:
    """Return the id of the database that a heads file belongs to; None if it was written before databases had one, or is empty."""
    found = None
    with path.open("rb") as file:
        for raw in file:
            if b'"database"' in raw and (line := _parsed(raw)) is not None:
                found = line["database"]
    return found


class OtherDatabase(JobError):
    """The heads file belongs to another database: neither compared nor added to."""

    code = "heads_of_another_database"


class HeadsAhead(JobError):
    """The file holds later heads than the database has, which was set back: nothing was added."""

    code = "heads_ahead"


class HeadsDamaged(JobError):
    """The file at this path is no heads file, or a damaged one: nothing was added to it. Audit it, or publish to a new file."""

    sqlstate = "OV000"
    code = "heads_damaged"


class Publication:
    """The locked file, ready for more lines. `cursor`: where the last publication ended, (xid, seq)."""

    def __init__(self, file: IO[bytes], cursor: tuple[int, int], chain: str) -> None:
        self.cursor = cursor
        self._file = file
        self._chain = chain

    def accept(self, losses: Iterable[Loss], reason: str) -> int:
        number = 0
        for number, loss in enumerate(losses, 1):  # noqa: B007  (the count is the answer)
            self._line({"job_id": loss.job_id, "lost_from": loss.version, "reason": reason})
        return number

    def append(self, heads: Iterable[Head]) -> int:
        number = 0
        for number, head in enumerate(heads, 1):  # noqa: B007  (the count is the answer)
            self._line({"job_id": head.job_id, "version": head.version, "hash": head.hash.hex()})
        return number

    def end(self, cursor: tuple[int, int], database: str) -> None:
        """Close the publication and sync it to disk, so that it survives a power cut."""
        self._line({"xid": cursor[0], "seq": cursor[1], "database": database})
        self._file.flush()
        os.fsync(self._file.fileno())

    def _line(self, line: dict[str, Any]) -> None:
        line["chain"] = self._chain = _link(self._chain, line)
        self._file.write(json.dumps(line).encode() + b"\n")


@contextmanager
def publication(path: Path) -> Iterator[Publication]:
    """Lock the file against other publications; create it durably if missing. Raises `HeadsDamaged`."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if new:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        cursor, chain, end = _last(file, path)
        # Anything after it is a publication that a crash cut short: it was never announced, and its jobs come again.
        file.truncate(end)
        file.seek(end)
        yield Publication(file, cursor, chain)


def _last(file: IO[bytes], path: Path) -> tuple[tuple[int, int], str, int]:
    """Return the last whole publication's cursor, its running hash, and the offset after it."""
    cursor, chain, end, at = (0, 0), GENESIS, 0, 0
    behind = True  # whether all that follows the last publication could be the beginning of one
    for raw in file:
        at += len(raw)
        line = _parsed(raw) if b'"xid"' in raw or end == 0 else None
        if line is not None and "xid" in line:
            cursor, chain, end, behind = (line["xid"], line["seq"]), line["chain"], at, True
        elif raw.endswith(b"\n") and not raw.startswith(b'{"job_id": "'):
            behind = False
    if not behind:
        what = f"{path} is no heads file, or it is damaged near its end"
        raise HeadsDamaged(f"{what}: nothing was added. Audit it, or publish to a new file.")
    return cursor, chain, end


def _link(chain: str, line: dict[str, Any]) -> str:
    rest = {key: value for key, value in line.items() if key != "chain"}
    return hashlib.sha256((chain + json.dumps(rest, sort_keys=True)).encode()).hexdigest()


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """Parse a line; None for anything that is no line of ours, whatever a person or a crash made of it."""
    try:
        line = json.loads(raw)
        assert raw.endswith(b"\n") and len(line["chain"]) == 64
        if "lost_from" in line:
            assert str(UUID(line["job_id"])) == line["job_id"] and type(line["lost_from"]) is int
        elif "job_id" in line:
            assert str(UUID(line["job_id"])) == line["job_id"] and type(line["version"]) is int and len(bytes.fromhex(line["hash"])) == 32
        else:
            assert type(line["xid"]) is int and type(line["seq"]) is int
            assert "database" not in line or str(UUID(line["database"])) == line["database"]
    except (ValueError, AssertionError, KeyError, TypeError, AttributeError):
        return None
    return dict(line)
