"""Errors that a job can raise: one class for each different decision of the caller, each with the SQLSTATE that the database raises for it.

Class `OV` is ours: the SQL standard leaves classes beginning with I–Z to implementations, and Postgres uses none that begin with O.
"""

from __future__ import annotations

from typing import ClassVar


class JobError(Exception):
    """Base. The message says what happened, to which job, and what to do now."""

    sqlstate: ClassVar[str] = "OV000"
    code: ClassVar[str] = "job_error"
    http: ClassVar[int] = 409
    """HTTP status of the API's answer."""


class IllegalTransition(JobError):
    """The event may not happen in the job's status. Look at the job again and decide anew."""

    sqlstate = "OV001"
    code = "illegal_transition"


class StaleClaim(JobError):
    """Another claim has the job, or none has. Stop working on it and write nothing."""

    sqlstate = "OV002"
    code = "stale_claim"


class AppendOnly(JobError):
    """Events are never changed or deleted, nor jobs deleted."""

    sqlstate = "OV003"
    code = "append_only"


class BareWrite(JobError):
    """A job's folded columns were written without their event. Call the function that does both."""

    sqlstate = "OV004"
    code = "bare_write"


class BrokenChain(JobError):
    """An event does not follow the job's last one: wrong version, wrong previous hash, wrong hash, unknown key."""

    sqlstate = "OV005"
    code = "broken_chain"


class JobNotFound(JobError):
    """No such job."""

    sqlstate = "OV006"
    code = "job_not_found"
    http = 404


class VersionConflict(JobError):
    """The job has moved on since the version this person saw. Show it to them again."""

    sqlstate = "OV007"
    code = "version_conflict"


class IdempotencyConflict(JobError):
    """The same id or idempotency key came with a different job. Use a new key."""

    sqlstate = "OV008"
    code = "idempotency_conflict"


class InvalidJob(JobError):
    """The job asked for is not one we make. `field` names what to change."""

    sqlstate = "OV009"
    code = "invalid_job"
    http = 400

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotAgeVerified(JobError):
    """The profile is not age-verified: no job for it."""

    sqlstate = "OV010"
    code = "not_age_verified"
    http = 403


class FinalFailure(JobError):
    """The job was refused for good; no retry may follow."""

    sqlstate = "OV011"
    code = "final_failure"


class ExecutorGone(JobError):
    """The executor was declared dead and its jobs given to others. Register again under a new id."""

    sqlstate = "OV012"
    code = "executor_gone"


class RefusedContent(JobError):
    """The prompt screen refused the text, or could not answer. Raised before a job is queued; never holds the text."""

    sqlstate = "OV013"
    code = "refused_content"
    http = 422


class InsufficientTokens(JobError):
    """The balance does not cover the job's price. Nothing was queued, nothing charged."""

    sqlstate = "OV014"
    code = "insufficient_tokens"
    http = 402


class TooManyJobs(JobError):
    """The user's plan allows no more unfinished jobs. Wait for one to end, or cancel one."""

    sqlstate = "OV015"
    code = "too_many_jobs"
    http = 429


class RateLimited(JobError):
    """More submits in a minute than the user's plan allows. The message says when to try again."""

    sqlstate = "OV016"
    code = "rate_limited"
    http = 429


class Forbidden(JobError):
    """The caller may not do this at all: no user, another user's name on it, or not an admin."""

    sqlstate = "OV017"
    code = "forbidden"
    http = 403


class NotFound(JobError):
    """What the request names is not there for this caller: a project, a video, a character, a reference. Another's counts as not there."""

    sqlstate = "OV018"
    code = "not_found"
    http = 404


class NoConsent(JobError):
    """A reference picture shows a person, and no consent to use their likeness is attested for these bytes."""

    sqlstate = "OV019"
    code = "no_consent"
    http = 403


class LegalHold(JobError):
    """A legal hold forbids erasing this user's data. Lift the hold first."""

    sqlstate = "OV020"
    code = "legal_hold"


class PicturesRefused(JobError):
    """The job has a reference picture that its user brought, and no executor has an image screen to look at it. Nothing was queued."""

    sqlstate = "OV023"
    code = "pictures_refused"
    http = 422


class Suspended(JobError):
    """The user is suspended: nothing is made for them. They may appeal once; an operator decides."""

    sqlstate = "OV024"
    code = "suspended"
    http = 403


class NoEnhancer(JobError):
    """No enhancer is running, or too many prompts wait for it: this one is not enhanced now. No job is touched by it."""

    sqlstate = "OV030"
    code = "no_enhancer"
    http = 503


class RequestTooLarge(JobError):
    """The body of a request to the API is larger than the limit, or its size is not given. Nothing of it was read."""

    sqlstate = "OV040"
    code = "request_too_large"
    http = 413


class TooManyRows(JobError):
    """One owner may have no more rows in this table. Delete some first; docs/limits.md has the figures."""

    sqlstate = "OV041"
    code = "too_many_rows"


class DatabaseIsCopy(JobError):
    """The rows came from another database (a restore, a move, a copy). Say which of the two goes on: `ourvidz restored`."""

    sqlstate = "OV050"
    code = "database_is_copy"
    http = 503


class ReplicaSession(JobError):
    """A session with session_replication_role = replica wrote to a table whose triggers it turns off. Nothing was changed."""

    sqlstate = "OV051"
    code = "replica_session"


BY_SQLSTATE: dict[str, type[JobError]] = {leaf.sqlstate: leaf for leaf in JobError.__subclasses__()}
