"""Operations on a job. Each is one call of a function in schema `ourvidz`, whose SQL decides; this side adds friendlier checks, survives a
database that goes away in the middle, and turns refusals into `state.errors`.

After a broken connection it is unknown if the statement was committed. `_write` finds out: it repeats the call, and if that is refused, it
looks for this claim's event.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ourvidz.db.connection import PATIENCE, Ambiguous, Database, DatabaseAway
from ourvidz.db.outages import backoff
from ourvidz.safety import texts
from ourvidz.safety.screen import PromptScreen, Verdict
from state import catalog
from state.canonical import Unreadable
from state.errors import IllegalTransition, InvalidJob, JobError, RefusedContent, StaleClaim, VersionConflict
from state.policy import Policy

log = logging.getLogger("ourvidz.jobs")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class NewJob:
    """A requested job. `settings` are the user's choices; the rest is the job type's own."""

    user_id: str
    job_type: str
    prompt: str
    negative_prompt: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    project_id: str | None = None
    video_id: str | None = None
    image_id: str | None = None
    idempotency_key: str | None = None
    run_at: datetime | None = None
    id: str | None = None


@dataclass(frozen=True)
class Submitted:
    """`created` is false if the same id or idempotency key had made the job before."""

    id: str
    created: bool


@dataclass(frozen=True)
class Claim:
    """Ownership of a job for one attempt, and everything needed to run it. `artifacts`: outputs of earlier attempts."""

    job_id: str
    claim_no: int
    token: str
    user_id: str
    job_type: str
    lane: str
    prompt: str
    negative_prompt: str | None
    settings: catalog.Settings
    metadata: Mapping[str, Any]
    enhanced_prompt: str | None
    artifacts: Sequence[Mapping[str, Any]]
    attempts: int
    deadline: datetime
    claimed_at: datetime

    @property
    def kind(self) -> catalog.JobType:
        return catalog.JOB_TYPES[self.job_type]

    @property
    def ref(self) -> tuple[str, int, str]:
        return self.job_id, self.claim_no, self.token


@dataclass(frozen=True)
class Held:
    claim_no: int
    cancel_requested: bool


class Jobs:
    """Client of the job state machine. Safe to share between threads."""

    def __init__(self, db: Database, screen: PromptScreen, *, patience: float = PATIENCE) -> None:
        self.db = db
        self.screen = screen
        self.patience = patience
        self._undo = False
        self.completed = 0  # jobs that this process completed, which an executor reports
        self._counting = threading.Lock()

    def rehearsing(self) -> Jobs:
        """Return a copy whose decisions (`cancel`, `retry`, `reroute`, `reprioritise`) are rolled back at once: each raises what the
        decision would raise, and nothing of it stays."""
        twin = Jobs(self.db, self.screen, patience=self.patience)
        twin._undo = True
        return twin

    # -- asking for jobs ----------------------------------------------------------------------------------------------------------

    def submit(self, job: NewJob) -> Submitted:
        """Queue a job. Raises `InvalidJob`, `RefusedContent`, `NotAgeVerified`, `IdempotencyConflict`, `InsufficientTokens`; then nothing
        was written."""
        return self.submit_many([job])[0]

    def submit_many(self, jobs: Iterable[NewJob], *, actor: str = "person") -> list[Submitted]:
        """Queue jobs in one transaction: all or none."""
        wire = [self._screened(job) for job in jobs]
        if not wire:
            return []
        rows = self._repeat("select * from ourvidz.submit_batch(%s::jsonb, %s, 'cli') order by ord", (_json(wire), actor))
        return [Submitted(str(row["job_id"]), row["created"]) for row in rows]

    def try_out(self, job: NewJob) -> dict[str, Any]:
        """Return what `submit` would make of it, without writing anything: job_type, settings, price and balance in tokens, lane, position,
        eta_seconds (None: no executor serves it), set_aside. Raises what `submit` raises."""
        rows = self._repeat("select ourvidz.submit(%s::jsonb, 'cli', true) as tried", (_json(self._request(job)),))
        tried: dict[str, Any] = rows[0]["tried"]
        return tried

    def _screened(self, job: NewJob) -> dict[str, Any]:
        request = self._request(job)
        for text in _texts(request):
            verdict = texts.check(self.screen, text)
            if not verdict.allowed:
                self._record_refusal(job.user_id, text, verdict)
                about = f"({verdict.category}, policy {verdict.policy_version})"
                raise RefusedContent(f"The {texts.NAMES[text.field]} was refused {about}. It was not queued.")
        return request

    def _request(self, job: NewJob) -> dict[str, Any]:
        """The request as ourvidz.submit takes it. Checked here are texts that the database could not hold or would not repeat."""
        prompt, negative = catalog.check_text(job.prompt, job.negative_prompt)
        # The client chooses the id, so that repeating a submit whose answer was lost finds its job.
        wire: dict[str, Any] = {
            "id": job.id or str(uuid.uuid4()),
            "user_id": job.user_id,
            "job_type": job.job_type,
            "prompt": prompt,
            "negative_prompt": negative,
            "settings": {name: value for name, value in job.settings.items() if value is not None},
            "metadata": dict(job.metadata),
            "project_id": job.project_id,
            "video_id": job.video_id,
            "image_id": job.image_id,
            "idempotency_key": job.idempotency_key,
            "run_at": job.run_at.isoformat() if job.run_at else None,
        }
        return {k: v for k, v in wire.items() if v is not None}

    def _record_refusal(self, user_id: str, text: texts.Text, verdict: Verdict) -> None:
        """Record a refusal for statistics, as the edge function does. The refusal stands even if this fails."""
        try:
            params = (uuid.UUID(str(user_id)), verdict.category, verdict.policy_version, verdict.rule_id, text.sha256)
            self.db.rows("select ourvidz.record_refusal(%s, %s, %s, %s, %s)", params)
        except (JobError, Ambiguous, ValueError) as error:
            log.warning("A refusal could not be recorded (%s).", type(error).__name__)

    # `actor`: who the event names; None: the connection's login, or the user of its JWT (ourvidz.actor).

    def cancel(self, job_id: str, *, version: int | None = None, actor: str | None = None) -> str:
        """Cancel a job: `cancelled` at once, or `cancel_requested` of the executor that holds it. Idempotent.

        Delivered outputs stay, and are charged.
        """
        sql = "select ourvidz.cancel(%s, %s, %s) as done"
        return str(self._decide(job_id, ("cancelled", "cancel_requested"), sql, (job_id, version, actor))[0]["done"])

    def retry(self, job_id: str, *, version: int | None = None, actor: str | None = None, charge: bool = False) -> None:
        """Start a failed or cancelled job again, keeping finished outputs. Free, and the event records what was waived, unless `charge`:
        then its user pays for what is still to be delivered, or `InsufficientTokens` is raised."""
        self._decide(job_id, ("retried",), "select ourvidz.retry(%s, %s, %s, %s)", (job_id, version, actor, charge))

    def reroute(self, job_id: str, *, version: int | None = None, actor: str | None = None) -> None:
        """Send a waiting job to its type's fallback, at no higher price. Raises `InvalidJob` with the reason if the fallback cannot make
        it."""
        self._decide(job_id, ("rerouted",), "select ourvidz.reroute(%s, %s, %s)", (job_id, version, actor))

    def reprioritise(self, job_id: str, priority: int, *, version: int | None = None, actor: str | None = None) -> None:
        self._decide(job_id, ("reprioritised",), "select ourvidz.reprioritise(%s, %s, %s, %s)", (job_id, priority, version, actor))

    # -- executors ----------------------------------------------------------------------------------------------------------------

    def register(self, name: str, host: str, pid: int, lanes: Sequence[str], info: Mapping[str, Any] | None = None) -> str:
        """`info` describes the executor; its `references` is how it treats users' reference pictures: `screened`, `unscreened` (accepted
        without a screen), `refused` or `tiny` (its models make coloured shapes, or noise)."""
        sql = "select ourvidz.register(%s, %s, %s, %s, %s::jsonb) as id"
        return str(self._repeat(sql, (name, host, pid, list(lanes), json.dumps(info or {})))[0]["id"])

    def heartbeat(
        self,
        executor_id: str,
        *,
        resident: Sequence[str] | None = None,
        lanes: Sequence[str] | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        """Extend the lease. One try: the next heartbeat comes soon. Raises `ExecutorGone`."""
        params = (executor_id, None if resident is None else list(resident), None if lanes is None else list(lanes))
        self.db.rows("select ourvidz.heartbeat(%s, %s, %s, %s::jsonb)", (*params, json.dumps(info) if info is not None else None))

    def held(self, executor_id: str) -> dict[str, Held]:
        rows = self.db.rows("select * from ourvidz.jobs_of_executor(%s)", (executor_id,))
        return {str(row["job_id"]): Held(row["claim_no"], row["cancel_requested"]) for row in rows}

    def claim(
        self, executor_id: str, *, lanes: Sequence[str] | None = None, resident: Sequence[str] | None = None, limit: int = 1
    ) -> list[Claim]:
        """Claim up to `limit` jobs of one lane. One try, and it may raise `Ambiguous`: then the executor may hold a job that it does not
        know of, and only leaving (`executor_gone`) and registering again is sure to release it."""
        params = (executor_id, None if lanes is None else list(lanes), None if resident is None else list(resident), limit)
        rows = self.db.rows("select * from ourvidz.claim(%s, %s, %s, %s)", params)
        return [_claim(row) for row in rows]

    def drain(self, executor_id: str, *, done: bool = False) -> None:
        self._repeat("select ourvidz.drain(%s, %s)", (executor_id, done))

    def executor_gone(self, executor_id: str, cause: str = "died") -> int:
        """Report that a supervisor saw this executor die: its jobs go to others now. Returns how many it had."""
        return int(self._repeat("select ourvidz.executor_gone(%s, %s) as jobs", (executor_id, cause))[0]["jobs"])

    def reap(self, *, grace: float = 0.0) -> dict[str, int]:
        """Return how many leases expired (`lapsed`), attempts `timed_out` and jobs were `promoted`; `busy`: nothing was done, another
        reaper was at work.

        After an outage of the database every lease has expired, also those of executors that kept working. For `grace` seconds after this
        process found it back nothing is reaped, so that they renew their leases and keep their jobs.
        """
        if self.db.back_for < grace:
            self.db.look_for_writes()
            return {"lapsed": 0, "timed_out": 0, "promoted": 0, "busy": 0}
        return dict(self.db.rows("select * from ourvidz.reap()")[0])

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def waiting_lanes(self, lanes: Sequence[str]) -> list[str]:
        """Return those of `lanes` that have a job to do now, in the order in which an executor with nothing resident would claim from
        them."""
        row = self._repeat("select ourvidz.lane_order(%s, '{}', null, null) as lanes", (list(lanes),))[0]
        return list(row["lanes"] or ())

    def policy(self) -> Policy:
        """Return the policy figures in force, from the database, which decides by them."""
        row = self._repeat("select * from ourvidz.policy", ())[0]
        return Policy(**{name: row[name] for name in Policy.__dataclass_fields__})

    def artifacts(self, job_id: str) -> list[dict[str, Any]]:
        rows = self._repeat("select to_jsonb(a) as artifact from public.artifacts as a where job_id = %s order by kind, index", (job_id,))
        return [row["artifact"] for row in rows]

    def unended(self, job_ids: Collection[str]) -> tuple[int, int]:
        """Return how many of these have not ended, and how many of those no executor has."""
        sql = """select count(*) as open, count(*) filter (where executor_id is null) as unheld
                 from public.jobs where id = any (%s::uuid[]) and completed_at is null"""
        row = self._repeat(sql, (list(job_ids),))[0]
        return row["open"], row["unheld"]

    def unserved(self, job_ids: Collection[str], lanes: Sequence[str]) -> int:
        """Count those of these jobs that wait for an executor in a lane that is not in `lanes` and that no executor serves."""
        sql = """select count(*) as n from public.jobs as j
                 where j.id = any (%s::uuid[]) and j.completed_at is null and j.executor_id is null and j.lane <> all (%s)
                   and not exists (select from ourvidz.fleet as e
                                   where e.state = 'active' and j.lane = any (e.lanes) and e.lease_until > ourvidz.now())"""
        return int(self._repeat(sql, (list(job_ids), list(lanes)))[0]["n"])

    def all_ended(self, job_ids: Collection[str]) -> bool:
        sql = "select not exists (select from public.jobs where id = any (%s::uuid[]) and completed_at is null) as ended"
        return bool(self._repeat(sql, (list(job_ids),))[0]["ended"])

    # -- one claim's steps --------------------------------------------------------------------------------------------------------

    def job_texts(self, claim: Claim) -> list[tuple[str, str]]:
        """Return the user's other texts that belong to the job: field (title, character) and text. Raises `StaleClaim`."""
        return [(row["field"], row["written"]) for row in self._repeat("select * from ourvidz.job_texts(%s, %s, %s)", claim.ref)]

    def advance(self, claim: Claim, event: str, **data: Any) -> None:
        """Write `event`; `sha256` in its data is stored as a salted digest.

        Raises `StaleClaim` when another claim has the job, `IllegalTransition` when the step may not follow.
        """
        self._write(
            claim, event, "select ourvidz.advance(%s, %s, %s, %s, %s::jsonb)", (*claim.ref, event, json.dumps(data)), _without_sha256(data)
        )

    def advance_many(self, claims: Sequence[Claim], event: str, data: Sequence[Mapping[str, Any]] | None = None) -> list[str]:
        """Advance many claims by the same step in one commit. Returns the ids of the jobs that moved; the others' claims were stale."""
        payloads = {claim.job_id: json.dumps(d) for claim, d in zip(claims, data or [{}] * len(claims), strict=True)}
        sql = "select ourvidz.advance_batch(%s::uuid[], %s::bigint[], %s::uuid[], %s, %s::jsonb[]) as id"
        moved: list[str] = []
        doubt = False

        def attempt() -> list[dict[str, Any]]:
            nonlocal doubt
            if doubt:
                moved.extend(claim.job_id for claim in claims if claim.job_id not in moved and self._written(claim, event, None))
            left = [claim for claim in claims if claim.job_id not in moved]
            try:
                return self.db.patient(sql, (*_columns(left), event, [payloads[claim.job_id] for claim in left]), patience=self.patience)
            except Ambiguous:
                doubt = True
                raise
            except IllegalTransition as refused:
                if doubt:  # the first try may have been on its way when we looked: look once more
                    raise Ambiguous(str(refused)) from refused
                raise

        rows = self._until(attempt)  # first: it may add to `moved`
        return [*moved, *(str(row["id"]) for row in rows)]

    def check_consent(self, claim: Claim, sha256: str | None = None) -> bool:
        """Check if the job's user may have a model see these bytes (64 hex digits), and record that it does; None: check again all that it
        saw so far. True if we made the picture for this user. Raises `NoConsent`, `StaleClaim`."""
        rows = self._repeat("select ourvidz.check_consent(%s, %s, %s, %s) as made", (*claim.ref, sha256))
        return bool(rows[0]["made"])

    def blocked(self, claim: Claim, sha256: str, pdq: Sequence[str]) -> bool:
        """Check if these bytes (64 hex digits), or a picture similar to one of these hashes (64 hex digits each), are blocked. Raises
        `StaleClaim`."""
        sql = "select ourvidz.check_blocked(%s, %s, %s, %s, %s) as blocked"
        return bool(self._repeat(sql, (*claim.ref, sha256, list(pdq)))[0]["blocked"])

    def enhanced(self, claim: Claim, prompt: str, *, seconds: float, tokens: int) -> None:
        self._write(claim, "prompt_enhanced", "select ourvidz.enhanced(%s, %s, %s, %s, %s, %s)", (*claim.ref, prompt, seconds, tokens))

    def artifact_generated(self, claim: Claim, artifact: Mapping[str, Any], *, seconds: float | None = None) -> None:
        sql = "select ourvidz.artifact_generated(%s, %s, %s, %s::jsonb, %s)"
        where = {"kind": artifact["kind"], "index": artifact["index"]}
        self._write(claim, "artifact_generated", sql, (*claim.ref, json.dumps(artifact), seconds), where)

    def artifact_uploaded(self, claim: Claim, kind: str, index: int, sha256: str) -> None:
        sql = "select ourvidz.artifact_uploaded(%s, %s, %s, %s, %s, %s)"
        self._write(claim, "artifact_uploaded", sql, (*claim.ref, kind, index, sha256), {"kind": kind, "index": index})

    def complete(self, claim: Claim) -> None:
        self._write(claim, "completed", "select ourvidz.complete(%s, %s, %s)", claim.ref)
        self._count(1)

    def complete_many(self, claims: Sequence[Claim]) -> list[str]:
        sql = "select ourvidz.complete_batch(%s::uuid[], %s::bigint[], %s::uuid[]) as id"
        done = [str(row["id"]) for row in self.db.rows(sql, _columns(claims))]
        self._count(len(done))
        return done

    def _count(self, jobs: int) -> None:
        with self._counting:
            self.completed += jobs

    def fail(
        self,
        claim: Claim,
        error_class: str,
        message: str,
        *,
        retryable: bool = True,
        final: bool = False,
        verdict: Mapping[str, Any] | None = None,
    ) -> str:
        """Report a failed attempt. Returns the policy's decision: retry_scheduled, failed or cancelled."""
        sql = "select ourvidz.fail(%s, %s, %s, %s, %s, %s, %s, %s::jsonb) as event"
        params = (*claim.ref, error_class, message, retryable, final, json.dumps(verdict or {}))
        rows = self._write(claim, ("retry_scheduled", "failed", "cancelled"), sql, params)
        return str(rows[0]["event"])

    def snooze(self, claim: Claim, reason: str, delay: float = 0.0) -> None:
        """Give the job back without spending an attempt; it waits `delay` seconds."""
        self._write(claim, ("snoozed", "cancelled"), "select ourvidz.snooze(%s, %s, %s, %s, %s)", (*claim.ref, reason, delay))

    def honour_cancel(self, claim: Claim) -> None:
        self._write(claim, "cancelled", "select ourvidz.honour_cancel(%s, %s, %s)", claim.ref)

    # -- surviving the network ----------------------------------------------------------------------------------------------------

    def _until(self, attempt: Callable[[], Rows]) -> Rows:
        """Repeat a call that finds out by itself if a lost answer was a commit."""
        began = time.monotonic()
        for delay in backoff(1.0):
            try:
                return attempt()
            except Ambiguous as lost:
                if time.monotonic() - began > min(self.patience, self.db.longest_wait):
                    said = "What was asked may have been done all the same: look before you ask again."
                    raise DatabaseAway(f"The database cannot be reached: {lost}. {said}") from lost
                time.sleep(delay)
        raise AssertionError("backoff has no end")

    def _repeat(self, sql: str, params: Sequence[Any]) -> list[dict[str, Any]]:
        """Run an idempotent call: a lost answer is asked for again."""
        return self._until(lambda: self.db.patient(sql, params, patience=self.patience))

    def _decide(self, job_id: str, events: tuple[str, ...], sql: str, params: Sequence[Any]) -> Rows:
        """Run a person's action. A refusal after a lost answer may be due to our own first try."""
        if self._undo:
            return self._until(lambda: self.db.patiently(lambda: self.db.undone(sql, params), patience=self.patience))
        doubt = False

        def attempt() -> Rows:
            nonlocal doubt
            try:
                return self.db.patient(sql, params, patience=self.patience)
            except Ambiguous:
                doubt = True
                raise
            except (IllegalTransition, VersionConflict, InvalidJob):
                last = "select type from public.job_events where job_id = %s order by version desc limit 1"
                if doubt and (rows := self._repeat(last, (job_id,))) and rows[0]["type"] in events:
                    return [{"done": rows[0]["type"]}]
                raise

        return self._until(attempt)

    def _write(
        self, claim: Claim, event: str | tuple[str, ...], sql: str, params: Sequence[Any], where: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        doubt = False

        def attempt() -> list[dict[str, Any]]:
            nonlocal doubt
            # Look first, because a step that changes no status would be accepted twice.
            if doubt and (written := self._written(claim, event, where)):
                return [{"event": written}]
            try:
                return self.db.patient(sql, params, patience=self.patience)
            except Ambiguous:
                doubt = True
                raise
            except (StaleClaim, IllegalTransition):
                # Look again: the first try may have been on its way when we looked.
                if doubt and (written := self._written(claim, event, where)):
                    return [{"event": written}]
                raise

        return self._until(attempt)

    def _written(self, claim: Claim, event: str | tuple[str, ...], where: Mapping[str, Any] | None) -> str | None:
        rows = self._repeat(
            "select type from public.job_events where job_id = %s and claim_no = %s and type = any (%s) and data @> %s::jsonb",
            (claim.job_id, claim.claim_no, [event] if isinstance(event, str) else list(event), json.dumps(where or {})),
        )
        return str(rows[0]["type"]) if rows else None


def _texts(request: Mapping[str, Any]) -> list[texts.Text]:
    """Return the texts of a request in canonical form, each once. Raises `InvalidJob` naming the field."""
    found: list[texts.Text] = []
    field = "metadata"
    try:
        told = [("prompt", request["prompt"]), ("negative", request.get("negative_prompt") or ""), *texts.others(request["metadata"])]
        for field, written in told:
            found.append(texts.read(field, written))
    except Unreadable as error:
        name = {"negative": "negative_prompt"}.get(field, field)
        raise InvalidJob(f"The {texts.NAMES[field]} cannot be read: {error}. Write it plainly.", field=name) from None
    if not found[0].text:
        raise InvalidJob("The prompt says nothing once it is decoded.", field="prompt")
    return list(texts.distinct(found))


def _json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        raise InvalidJob("A setting is a number that is none (infinity, NaN).", field="settings") from None


def _without_sha256(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "sha256"}


def _columns(claims: Sequence[Claim]) -> tuple[list[str], list[int], list[str]]:
    return [c.job_id for c in claims], [c.claim_no for c in claims], [c.token for c in claims]


def _claim(row: Mapping[str, Any]) -> Claim:
    values = dict(row)
    for key in ("job_id", "token", "user_id"):
        values[key] = str(values[key])
    known = catalog.Settings.__dataclass_fields__
    values["settings"] = catalog.Settings(**{k: v for k, v in row["settings"].items() if k in known})
    values["artifacts"] = row["artifacts"] or []
    return Claim(**values)
