"""Exceptions of the executors: one class for each failure that policy treats differently (`executors.run` passes them to it)."""

from __future__ import annotations

from ourvidz.safety.screen import Verdict


class ExecutorError(Exception):
    """Base class. `error_class` goes into the job's event; the message is for people and stays out of it."""

    error_class = "executor"
    retryable = True
    final = False  # never retried, not by hand either


class ModelFileError(ExecutorError):
    """A model file is missing, truncated, a pickle or of the wrong kind. The executor continues with the families that it can load."""

    error_class = "model_file"


class BadWork(ExecutorError):
    """The job asks for a size, frame count, sampler or set of references that the family cannot make. A retry would fail too."""

    error_class = "bad_request"
    retryable = False


class TextUnreadable(ExecutorError):
    """A text has no canonical form, or its encoder would read another text than the one screened (docs/decisions/0036)."""

    error_class = "text_unreadable"
    retryable = False


class BadReference(ExecutorError):
    """A reference picture cannot be read, or is too big. A retry would read the same bytes."""

    error_class = "bad_reference"
    retryable = False


class NoLikeness(BadReference):
    """No consent is attested for the bytes of a reference picture. The job may be retried once it is."""

    error_class = "no_consent"


class Unscreened(ExecutorError):
    """A reference picture brought by the user, on an executor with real models and no image screen: refused for good, before the fetch."""

    error_class = "no_image_screen"
    retryable = False
    final = True


class ReferenceAway(ExecutorError):
    """A reference picture is not available now: its host does not answer, or this machine cannot decode it. A retry may succeed."""

    error_class = "reference_away"


class BadOutput(ExecutorError):
    """The model made NaN or a single colour. Repeated once in higher precision, then failed: the same seeds would give the same output."""

    error_class = "bad_output"
    retryable = False


class EnhancementFailed(ExecutorError):
    """No usable enhanced prompt: too slow, refused, or not a description. The job's `on_enhance_failure` decides what follows.

    `reason` is recorded in `enhancement_skipped`: time_limit, model_refused, no_description, other_language."""

    error_class = "enhancement"

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or self.error_class


class EnhancerAway(EnhancementFailed):
    """The enhancer process is absent, died, hangs or is busy. Not the prompt's fault: this executor may use its own model."""

    error_class = "enhancer_away"


class OutOfMemory(ExecutorError):
    """The device ran out of memory. Its memory has been freed; a smaller or later attempt may fit."""

    error_class = "out_of_memory"


class DiskFull(ExecutorError):
    """The spool or the store is full. No partial file is left."""

    error_class = "disk_full"


class Cancelled(Exception):
    """A cancel was seen between two steps. Not an error: the job ends `cancelled`."""


class Left(Exception):
    """Raised on the device when the job's thread has ended and its output will be discarded. Not reported as an error."""


class LeaseLost(Exception):
    """Another claim holds the job now. Not an error: this one stops and writes nothing."""


class Refused(Exception):
    """A screen refused a text or a picture: the job fails for good."""

    def __init__(self, verdict: Verdict, stage: str, what: str, sha256: str | None = None) -> None:
        """`stage`: a field of `ourvidz.safety.texts`, "reference" or "output". `sha256` of the picture or of the canonical text, in hex,
        represents it in the event, salted."""
        category = verdict.category or "refused"
        # A block is not explained: naming the list or the picture would help to evade it.
        blocked = category == "blocked"
        super().__init__(f"The {what} is blocked." if blocked else f"The {what} was refused ({category}, policy {verdict.policy_version}).")
        facts = {
            "category": category,
            "policy_version": verdict.policy_version,
            "stage": stage,
            "rule_id": verdict.rule_id,
            "sha256": sha256,
        }
        self.verdict = {name: fact for name, fact in facts.items() if fact}
