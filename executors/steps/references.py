"""The reference step of a job: read its reference pictures from our own store or from an https URL.

The bytes of every picture are checked by `attested` before any model sees it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from executors.context import JobRun
from executors.errors import BadReference, NoLikeness, ReferenceAway, Unscreened
from executors.models.base import References
from executors.reference_files import MIN_SIDE, load_reference
from executors.steps import blocks
from ourvidz.fetch import FetchRefused, FetchUnavailable
from ourvidz.storage.base import ObjectMissing, StorageError
from state.catalog import JOB_TYPES, REFERENCE_BUCKET, is_url
from state.errors import NoConsent


def attested(run: JobRun, slot: str, sha256: str) -> None:
    """Require a consent attestation for the picture: we cannot tell whether it shows a person, so every picture that a user brings needs
    one. A picture is recognised as our own output by its bytes, not by its address."""
    try:
        made = run.jobs.check_consent(run.claim, sha256)
    except NoConsent as refusal:
        raise NoLikeness(f"reference {slot}: {refusal}") from None
    if not made:
        _may_be_brought(run, slot)


def _may_be_brought(run: JobRun, slot: str) -> None:
    """Raise `Unscreened` if a real model would see the picture without any image screen."""
    if run.context.refuses_pictures:
        raise Unscreened(
            f"reference {slot} was brought by its user, and this executor has real models and no image screen to look at it first. "
            "An operator sets OURVIDZ_IMAGE_SCREEN=local and OURVIDZ_IMAGE_SCREEN_MODEL, or OURVIDZ_IMAGE_SCREEN=none to go without "
            "(docs/safety.md)"
        )


def still_attested(run: JobRun) -> None:
    """Check consent again just before a model sees the pictures, and before the outputs are published: it may have been withdrawn while
    the job waited. Raises `NoLikeness`, without a fallback."""
    if not run.claim.settings.references:
        return
    try:
        run.jobs.check_consent(run.claim)
    except NoConsent as refusal:
        raise NoLikeness(f"a reference of this job: {refusal}") from None


def read(run: JobRun) -> JobRun:
    """Read the job's reference pictures. One that cannot be read fails the job, unless the job allows going on without it."""
    wanted = run.claim.settings.references
    if not wanted or not run.todo:
        return run
    pictures: dict[str, Any] = {}
    for slot, address in wanted.items():
        run.enter("preparing")
        if not _may_be_ours(address):
            _may_be_brought(run, slot)  # before anything is fetched
        try:
            data = _fetched(run, slot, address) if is_url(address) else _stored(run, slot, address)
            sha256 = hashlib.sha256(data).hexdigest()
            attested(run, slot, sha256)
            pictures[slot] = load_reference(data, min_side=_least(address))
            blocks.reference(run, slot, sha256, pictures[slot])
        except (BadReference, ReferenceAway) as error:
            # A temporary failure is retried while attempts are left.
            waits = error.retryable and run.claim.attempts < run.context.policy.max_attempts
            if waits or not run.claim.settings.reference_fallback or slot == "init":
                raise
            run.jobs.advance(run.claim, "reference_skipped", reference=slot, reason=error.error_class)
            run.show("preparing", note=f"going on without {slot}: {error}")
    return replace(run, references=References(**pictures))


def _may_be_ours(address: str) -> bool:
    """Check if the address is in a bucket of outputs. Users may put files there too: only the bytes prove that we made it."""
    return address.partition("/")[0] in (*JOB_TYPES, "video-thumbnails")


def _least(address: str) -> int:
    """Minimum side in pixels. None for our own outputs: tiny models make small pictures, which must be usable as references for videos."""
    return 1 if address.partition("/")[0] in JOB_TYPES else MIN_SIDE


def _fetched(run: JobRun, slot: str, url: str) -> bytes:
    """Fetch a URL, from the public internet only. Signed URLs of our own storage are fetched this way too."""
    try:
        return run.context.fetch(url)
    except FetchRefused as error:
        raise BadReference(f"reference {slot} is not fetched: {error}") from None
    except FetchUnavailable as error:
        raise ReferenceAway(f"reference {slot} could not be fetched: {error}") from None


def _stored(run: JobRun, slot: str, address: str) -> bytes:
    """Read the bytes at `bucket/path` of our own store, only from the user's own folder."""
    bucket, _, path = address.partition("/")
    if not path.startswith(f"{run.claim.user_id}/"):
        raise BadReference(f"reference {slot} is not one of this user's own objects")
    limit = run.context.store.buckets().get(bucket, run.context.store.buckets()[REFERENCE_BUCKET]).max_bytes
    try:
        with run.context.store.open(bucket, path) as stream:
            data = stream.read(limit + 1)
    except (ObjectMissing, StorageError) as error:
        if isinstance(error, StorageError) and error.retryable:
            raise
        raise BadReference(f"reference {slot} is not there: {error}") from error
    if len(data) > limit:
        raise BadReference(f"reference {slot} has over {limit:,} bytes")
    return data
