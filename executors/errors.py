"""What can go wrong on the device, one leaf for each different decision of policy (`executors.run` hands them over)."""

from __future__ import annotations


class ExecutorError(Exception):
    """Base. `error_class` is the word that goes into the job's event; the message is for people and stays out of it."""

    error_class = "executor"
    retryable = True
    final = False  # no retry may ever follow, not a person's either


class ModelFileError(ExecutorError):
    """A model file is missing, truncated, pickled or of the wrong kind. The executor goes on with the families that it can load."""

    error_class = "model_file"


class BadWork(ExecutorError):
    """The job asks for what no retry can give: a size, frame count, sampler or set of references that the family cannot make."""

    error_class = "bad_request"
    retryable = False


class TextUnreadable(ExecutorError):
    """A text has no canonical form, or what encodes it would read another text than was screened (docs/decisions/0036)."""

    error_class = "text_unreadable"
    retryable = False


class BadReference(ExecutorError):
    """A reference picture cannot be read, or is too big. A retry would read the same bytes."""

    error_class = "bad_reference"
    retryable = False


class NoLikeness(BadReference):
    """No consent is attested for the bytes of a reference picture. Once it is, the job may be retried."""

    error_class = "no_consent"


class Unscreened(ExecutorError):
    """A reference picture that its user brought, real models, and no image screen: refused before it is fetched, for good."""

    error_class = "no_image_screen"
    retryable = False
    final = True


class ReferenceAway(ExecutorError):
    """A reference picture could not be had just now: its host does not answer, or this machine cannot decode. Later it may."""

    error_class = "reference_away"


class BadOutput(ExecutorError):
    """The model made NaN or a single colour. Repeated once in higher precision, then failed: the same seeds would give the same again."""

    error_class = "bad_output"
    retryable = False


class EnhancementFailed(ExecutorError):
    """No usable enhanced prompt: too slow, refused, or not a description. The job's `on_enhance_failure` says what now.

    `reason` is the word for `enhancement_skipped`: time_limit, model_refused, no_description, other_language."""

    error_class = "enhancement"

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or self.error_class


class EnhancerAway(EnhancementFailed):
    """The enhancer's own process is not there, died, hangs or is busy. Not the prompt's fault: this executor's own model may do it."""

    error_class = "enhancer_away"


class OutOfMemory(ExecutorError):
    """The device ran out of memory. Cleaned up; a smaller or later try may fit."""

    error_class = "out_of_memory"


class DiskFull(ExecutorError):
    """The spool or the store has no room. Nothing half-written is left behind."""

    error_class = "disk_full"


class Cancelled(Exception):
    """The job's cancel was learned between two steps. Not an error: the job ends `cancelled`."""


class Left(Exception):
    """The job's own thread has gone, so nobody wants what the device makes of it. Not an error."""


class LeaseLost(Exception):
    """Another claim has the job now. Not an error: this one stops and writes nothing."""
