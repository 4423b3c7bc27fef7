"""The step that reads the pictures a job refers to: out of our own store, or from an https URL. No model sees one that this step let by
without its bytes having been offered to `Room.consent`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from executors.errors import BadReference, NoLikeness, ReferenceAway, Unscreened
from executors.models.base import References
from executors.references import MIN_SIDE, load_reference
from ourvidz.fetch import FetchRefused, FetchUnavailable
from ourvidz.storage.base import ObjectMissing, StorageError
from state.catalog import JOB_TYPES, REFERENCE_BUCKET, is_url
from state.errors import NoConsent

if TYPE_CHECKING:
    from executors.room import Run

Fetch = Callable[[str], bytes]
"""A URL's bytes. Raises `FetchRefused` or `FetchUnavailable`."""

Consent = Callable[["Run", str, str], None]
"""Asked with the run, the slot and the sha256 (64 hex digits) of the file as the user gave it, before anything looks at the picture.
Raises to refuse: a `BadReference`, where the job may go on without it."""


def attested(run: Run, slot: str, sha256: str) -> None:
    """Whether a person is to be seen on it we cannot know: every picture that its user brought needs the attestation. By its bytes, not
    its address, it is known whether we made it."""
    try:
        made = run.jobs.check_consent(run.claim, sha256)
    except NoConsent as refusal:
        raise NoLikeness(f"reference {slot}: {refusal}") from None
    if not made:
        _may_be_brought(run, slot)


def _may_be_brought(run: Run, slot: str) -> None:
    """Raises `Unscreened` where nothing would look at a picture before a real model does."""
    if run.room.refuses_pictures:
        raise Unscreened(
            f"reference {slot} was brought by its user, and this executor has real models and no image screen to look at it first. "
            "An operator sets OURVIDZ_IMAGE_SCREEN=local and OURVIDZ_IMAGE_SCREEN_MODEL, or OURVIDZ_IMAGE_SCREEN=none to go without "
            "(docs/safety.md)"
        )


def still_attested(run: Run) -> None:
    """Asked again just before a model sees the pictures, and before what it made is published: a consent may have been withdrawn while
    the job waited. Raises `NoLikeness`, with no way around it."""
    if not run.claim.settings.references:
        return
    try:
        run.jobs.check_consent(run.claim)
    except NoConsent as refusal:
        raise NoLikeness(f"a reference of this job: {refusal}") from None


def references(run: Run) -> Run:
    """Read the pictures the job refers to. One that cannot be read fails the job, unless it said to go on without."""
    wanted = run.claim.settings.references
    if not wanted or not run.todo:
        return run
    from executors import blocking  # here: it needs the room, which needs this module

    pictures: dict[str, Any] = {}
    for slot, address in wanted.items():
        run.enter("preparing")
        if not _may_be_ours(address):
            _may_be_brought(run, slot)  # before anything is fetched
        try:
            data = _fetched(run, slot, address) if is_url(address) else _stored(run, slot, address)
            sha256 = hashlib.sha256(data).hexdigest()
            run.room.consent(run, slot, sha256)
            pictures[slot] = load_reference(data, min_side=_least(address))
            blocking.reference(run, slot, sha256, pictures[slot])
        except (BadReference, ReferenceAway) as error:
            # What may come back is waited for, as long as there are attempts to wait with.
            waits = error.retryable and run.claim.attempts < run.room.policy.max_attempts
            if waits or not run.claim.settings.reference_fallback or slot == "init":
                raise
            run.jobs.advance(run.claim, "reference_skipped", reference=slot, reason=error.error_class)
            run.show("preparing", note=f"going on without {slot}: {error}")
    return replace(run, references=References(**pictures))


def _may_be_ours(address: str) -> bool:
    """Whether it lies where outputs do. Users may put files there too: only the bytes tell."""
    return address.partition("/")[0] in (*JOB_TYPES, "video-thumbnails")


def _least(address: str) -> int:
    """A picture that we made is good to begin with, however small: tiny models' are, and their previews must lead to films."""
    return 1 if address.partition("/")[0] in JOB_TYPES else MIN_SIDE


def _fetched(run: Run, slot: str, url: str) -> bytes:
    """From the public internet alone, whoever the URL says it is: our own storage's signed URLs come this way too."""
    try:
        return run.room.fetch(url)
    except FetchRefused as error:
        raise BadReference(f"reference {slot} is not fetched: {error}") from None
    except FetchUnavailable as error:
        raise ReferenceAway(f"reference {slot} could not be fetched: {error}") from None


def _stored(run: Run, slot: str, address: str) -> bytes:
    """The bytes at `bucket/path`, from our own store alone, and only from the user's own folder or among their outputs."""
    bucket, _, path = address.partition("/")
    if not path.startswith(f"{run.claim.user_id}/"):
        raise BadReference(f"reference {slot} is not one of this user's own objects")
    limit = run.room.store.buckets().get(bucket, run.room.store.buckets()[REFERENCE_BUCKET]).max_bytes
    try:
        with run.room.store.open(bucket, path) as stream:
            data = stream.read(limit + 1)
    except (ObjectMissing, StorageError) as error:
        if isinstance(error, StorageError) and error.retryable:
            raise
        raise BadReference(f"reference {slot} is not there: {error}") from error
    if len(data) > limit:
        raise BadReference(f"reference {slot} has over {limit:,} bytes")
    return data
