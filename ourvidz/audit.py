"""Audit: replay the history in Python from the stored bytes, and compare it with the rows and with the published heads.

It shares no code with the database's functions. It finds what anyone can do who gets past the guards (a superuser, a disk, a partly
restored backup): an event changed, missing or moved, a row that differs, a tail cut off, a job deleted altogether. The last two leave no
trace in the database, and are found by the heads that `publish_heads` wrote elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

from ourvidz.chain_heads import Damage, Head, HeadsAhead, Loss, OtherDatabase, belongs_to, publication, read
from ourvidz.db.connection import Database
from ourvidz.db.history import History, StoredEvent, StoredJob, repairing, snapshot, sync_library
from ourvidz.library_audit import differences
from state.events import DATA_KEYS, GENESIS, Event, event_hash
from state.job import FOLDED, Job, evolve, may_change_library
from state.machine import Claim, EventType, Status, transitions_from

_HEADS_AT_ONCE = 5_000
_PROGRESS_EVERY = 1_000


@dataclass(frozen=True)
class Finding:
    """A difference from what was written. `kind` is one of `KINDS`; `message` is for people."""

    kind: str
    job_id: str
    version: int | None
    message: str


KINDS: Final = {
    "altered": "an event whose contents do not fit its hash",
    "reordered": "an event that was written at another place of its job",
    "missing": "versions that are not there",
    "unlinked": "an event that does not follow the one before it",
    "illegal": "a step that the table of transitions does not have",
    "row_differs": "a row that says something else than its events",
    "row_missing": "events without a row",
    "library_differs": "a row of images or videos that says something else than its job's events",
    "events_missing": "a row without events",
    "cut": "a published head above the job's last event",
    "rewritten": "a published head whose event has another hash now",
    "job_missing": "a published job of which nothing is left",
    "heads_damaged": "the heads file itself was changed",
}


@dataclass(frozen=True)
class Report:
    jobs: int
    events: int
    findings: tuple[Finding, ...]


def audit(database: Database, heads: Path | None = None, *, on_progress: Callable[[int], None] | None = None) -> Report:
    """Verify every event and row, and the published heads. `on_progress` gets the number of jobs done, now and then.

    Reads one snapshot in constant memory and changes nothing. Raises FileNotFoundError if there is no such heads file, `OtherDatabase` if
    it belongs to another database.
    """
    # Measured before the snapshot is taken: a head that is published later may be of an event that is not in the snapshot.
    size = heads.stat().st_size if heads is not None else 0
    jobs = events = 0
    findings: list[Finding] = []
    with snapshot(database) as history:
        if heads is not None:
            _same_database(history, heads)
        for job in history.jobs():
            jobs += 1
            events += len(job.events)
            findings += _examine(job, history)
            if on_progress and jobs % _PROGRESS_EVERY == 0:
                on_progress(jobs)
        if heads is not None:
            findings += _against_heads(history, heads, size)
    if on_progress:
        on_progress(jobs)
    return Report(jobs, events, tuple(findings))


def publish_heads(database: Database, heads: Path) -> int:
    """Append the heads of the jobs that moved since the last publication. Returns how many.

    Raises `HeadsDamaged`; `OtherDatabase`; `HeadsAhead` if the database is at an earlier time than the file.
    """
    # The file is locked first: concurrent publications run one after the other.
    with publication(heads) as file, snapshot(database) as history:
        _same_database(history, heads)
        cursor = file.cursor
        if cursor[0] > history.settled():
            raise HeadsAhead(
                f"{heads} holds heads of a later time than this database, which was set back: nothing was added. Run `ourvidz restored "
                "--replaces`, then `ourvidz audit`, which says what was lost."
            )

        def moved() -> Iterator[Head]:
            nonlocal cursor
            for job_id, version, digest, xid, seq in history.heads_after(file.cursor):
                cursor = max(cursor, (xid, seq))
                yield Head(job_id, version, digest)

        if number := file.append(moved()):
            file.end(cursor, history.identity())
        return number


LOSSES: Final = ("cut", "rewritten", "job_missing", "missing")
"""Findings in a database that was set back to an earlier time, which an operator may accept."""


def accept_losses(database: Database, heads: Path, findings: Iterable[Finding], reason: str) -> int:
    """Record in the heads file that these findings are known: earlier heads no longer count against them. Returns the number of jobs.
    Raises as `publish_heads` does."""
    found = [Loss(f.job_id, 1 if f.kind == "job_missing" else f.version or 1) for f in findings if f.kind in LOSSES]
    with publication(heads) as file, snapshot(database) as history:
        _same_database(history, heads)
        if number := file.accept(found, reason):
            file.end(file.cursor, history.identity())
        return number


def heads_file(database: Database, home: Path) -> Path:
    """Return the path of this database's heads under `home`: a file by its id, because one home may see several databases. A file from
    before databases had an id is renamed to this database's if it holds jobs that are here."""
    with snapshot(database) as history:
        found = home / f"heads-{history.identity()}.jsonl"
        older = home / "heads.jsonl"
        if not found.exists() and older.is_file() and belongs_to(older) is None:
            first = [h for h in islice(read(older, older.stat().st_size), _HEADS_AT_ONCE) if isinstance(h, Head)]
            if history.hashes([(h.job_id, h.version) for h in first]):
                older.rename(found)
    return found


def _same_database(history: History, heads: Path) -> None:
    if (of := belongs_to(heads)) is not None and of != (here := history.identity()):
        raise OtherDatabase(f"{heads} holds heads of database {of}, and this is database {here}: neither compared nor added to.")


def rebuild(database: Database, *, verify: bool, on_progress: Callable[[int], None] | None = None) -> tuple[Finding, ...]:
    """Fold every job and compare it with its row; unless `verify`, set the rows that differ to what their events say.

    Only a history that verifies is trusted: a job with a broken one is reported, and its row left alone. So is a row without events. Raises
    `HistoryBusy` when the table cannot be locked.
    """
    wrong: list[str] = []  # of jobs
    shown: list[str] = []  # of images and videos
    findings: list[Finding] = []
    with snapshot(database) as history:
        for number, job in enumerate(history.jobs(), 1):
            if found := _examine(job, history):
                findings += found
                if all(f.kind == "library_differs" for f in found):
                    shown.append(job.id)
                elif all(f.kind in ("row_differs", "row_missing") for f in found):
                    wrong.append(job.id)
            if on_progress and number % _PROGRESS_EVERY == 0:
                on_progress(number)
    if verify or not (wrong or shown):
        return tuple(findings)
    sync_library(database, shown)
    with repairing(database) as repair:
        for job_id in wrong:
            # Read again under the lock: it may have moved on, or been repaired, since.
            job = repair.job(job_id)
            told = _history(job)[1]
            if told is not None and job.events and _row(job, told):
                repair.set_row(job_id, {**{name: getattr(told, name) for name in FOLDED}, "submitted_on": job.events[0].submitted_on})
    repaired = {*wrong, *shown}
    return tuple(replace(f, message=f.message + " It was set to what the events tell.") if f.job_id in repaired else f for f in findings)


# -- one job ----------------------------------------------------------------------------------------------------------------------


def _examine(job: StoredJob, history: History) -> list[Finding]:
    if not job.events:
        return [Finding("events_missing", job.id, None, f"Job {job.id} has a row, and not one event: its history was deleted.")]
    findings, told = _history(job)
    # Compare a row with its fold only if the events verify: against broken events the result would mean nothing.
    if told is None:
        return findings
    return _row(job, told) or _library(job, told, history)


def _history(job: StoredJob) -> tuple[list[Finding], Job | None]:
    """Return what is wrong with a job's events; if nothing is, the folded job."""
    findings = [*_places(job), *_links(job)]
    told = Job(id=job.id)
    for stored in job.events:
        event = _readable(stored)
        if event is None or event.hash != event_hash(event):
            findings.append(_altered(job, stored))
        # After a broken event every step looks wrong: only that event is reported.
        elif not findings and (problem := _illegal(told, event)):
            findings.append(Finding("illegal", job.id, event.version, f"Job {job.id}, event {event.version} ({event.type}): {problem}"))
        if event is not None and not findings:
            try:
                told = evolve(told, event)
            except (AttributeError, KeyError, TypeError, ValueError):
                problem = "its data lack what such an event holds."
                findings.append(Finding("illegal", job.id, event.version, f"Job {job.id}, event {event.version} ({event.type}): {problem}"))
    return (findings, None) if findings else ([], told)


def _places(job: StoredJob) -> Iterator[Finding]:
    for before, after in pairwise([0, *(e.version for e in job.events)]):
        if after != before + 1:
            lost = f"event {after - 1} is" if after == before + 2 else f"events {before + 1} to {after - 1} are"
            yield Finding("missing", job.id, before + 1, f"Job {job.id}: {lost} missing.")


def _links(job: StoredJob) -> Iterator[Finding]:
    previous = GENESIS
    last = 0
    for e in job.events:
        # After a gap nothing can link: only the gap is reported.
        if e.version == last + 1 and e.prev_hash != previous:
            yield Finding("unlinked", job.id, e.version, f"Job {job.id}: event {e.version} does not follow event {last} as it is now.")
        previous, last = e.hash, e.version


def _altered(job: StoredJob, stored: StoredEvent) -> Finding:
    """Report an event whose contents do not match its hash; look if they do at another place of the job."""
    for place in range(1, len(job.events) + 2):
        moved = _readable(replace(stored, version=place))
        if moved is not None and place != stored.version and moved.hash == event_hash(moved):
            message = f"Job {job.id}: the event at place {stored.version} ({stored.type}) was written at place {place}."
            return Finding("reordered", job.id, stored.version, message)
    message = f"Job {job.id}: event {stored.version} ({stored.type}) was changed after it was written; its hash does not fit."
    return Finding("altered", job.id, stored.version, message)


def _readable(e: StoredEvent) -> Event | None:
    """Parse a stored event; None if one of its fields has no valid value."""
    try:
        if e.occurred_at is None:
            return None
        from_status = None if e.from_status is None else Status(e.from_status)
        data = json.loads(e.data_text)
        return Event(
            e.job_id, e.version, EventType(e.type), from_status, Status(e.to_status), e.claim_no, e.actor, e.occurred_at, data, e.data_text,
            e.prev_hash, e.hash,
        )  # fmt: skip
    except ValueError:
        return None


def _illegal(told: Job, e: Event) -> str:
    """Return why this event may not follow those before it; empty if it may. A matching hash only shows that it was written so."""
    source = None if told.version == 0 else told.status
    rows = [t for t in transitions_from(e.type, e.from_status) if t.target is e.to_status]
    held = told.executor_id is not None
    claim_no = told.claim_no + 1 if e.type is EventType.CLAIMED else told.claim_no if held else None
    if e.from_status is not source:
        return f"it says the job was {e.from_status}, which was {source} then."
    if not rows:
        return f"{e.from_status} → {e.to_status} is no step of it."
    if rows[0].before not in (Claim.ANY, Claim.HELD if held else Claim.FREE):
        return f"the job was {'' if held else 'not '}held by an executor then."
    if e.claim_no != claim_no:
        return f"it is of claim {e.claim_no}; the job's was {claim_no}."
    if e.type is EventType.RETRIED and told.final:
        return "the job had failed for good."
    if e.type is EventType.RETRIED and told.hidden:
        return "its owner had deleted the job."
    if e.type in (EventType.LINKED, EventType.REMOVED) and not may_change_library(told, e):
        return "the job could not be linked or removed so."
    if told.updated_at is not None and e.occurred_at < told.updated_at:
        return "it happened before its predecessor."
    if alien := sorted(set(e.data) - set(DATA_KEYS[e.type])):
        return f"it holds {', '.join(alien)}, which such an event has not."
    return ""


# -- a row against its fold -------------------------------------------------------------------------------------------------------


def _row(job: StoredJob, told: Job) -> list[Finding]:
    if job.row is None:
        return [Finding("row_missing", job.id, told.version, f"Job {job.id} has {told.version} events and no row: it was deleted.")]
    wrong = {name: job.row.get(name) for name in FOLDED if not _same(getattr(told, name), job.row.get(name))}
    if not wrong:
        return []
    says = "; ".join(f"{name} is {_shown(found)}, its events say {_shown(getattr(told, name))}" for name, found in wrong.items())
    return [Finding("row_differs", job.id, told.version, f"Job {job.id}: {says}.")]


def _library(job: StoredJob, told: Job, history: History) -> list[Finding]:
    happened = [e for e in map(_readable, job.events) if e is not None]
    says = list(differences(told, happened, history.library(job.id)))
    return [Finding("library_differs", job.id, told.version, f"Job {job.id}: {'; '.join(says)}.")] if says else []


def _same(told: Any, found: Any) -> bool:
    """Check if a column, as JSON has it, equals the folded value."""
    if isinstance(told, bytes):
        return bool(found == "\\x" + told.hex())
    if isinstance(told, datetime):
        try:
            return isinstance(found, str) and datetime.fromisoformat(found) == told
        except ValueError:
            return False
    # True must not equal 1; but 1 equals 1.0, because JSON writes a whole rank without its point.
    return bool(found == told) and isinstance(found, bool) == isinstance(told, bool)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        value = "\\x" + value.hex()
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return text if len(text) <= 40 else text[:37] + "…"


# -- the published heads ----------------------------------------------------------------------------------------------------------


def _against_heads(history: History, path: Path, size: int) -> Iterator[Finding]:
    lost: set[str] = set()  # one finding a job: its later heads are missing too
    lines = read(path, size)
    while portion := list(islice(lines, _HEADS_AT_ONCE)):
        yield from (Finding("heads_damaged", "", None, d.message) for d in portion if isinstance(d, Damage))
        heads = [h for h in portion if isinstance(h, Head) and h.job_id not in lost]
        found = history.hashes([(h.job_id, h.version) for h in heads])
        for head in heads:
            here = found.get((head.job_id, head.version))
            if here == head.hash or head.job_id in lost:
                continue
            lost.add(head.job_id)
            yield _unlike(history, head, here)


def _unlike(history: History, head: Head, here: bytes | None) -> Finding:
    job = f"Job {head.job_id}"
    if here is not None:
        message = f"{job}: event {head.version} is not the one that was published; the history was rewritten there or before."
        return Finding("rewritten", head.job_id, head.version, message)
    last = history.last_version(head.job_id)
    if last is None:
        return Finding("job_missing", head.job_id, head.version, f"{job} was published at event {head.version}; nothing is left of it.")
    if last < head.version:
        message = f"{job} ends with event {last}; it was published at event {head.version}: the end was cut off."
        return Finding("cut", head.job_id, last + 1, message)
    return Finding("missing", head.job_id, head.version, f"{job}: event {head.version}, which was published, is missing.")
