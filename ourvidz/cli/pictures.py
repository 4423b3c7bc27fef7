"""Reference pictures given on the command line: checked, then stored unchanged where executors look for a user's references."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ourvidz.cli import formatting
from ourvidz.cli.executor import able
from ourvidz.cli.out import Problem, confirm
from ourvidz.storage.base import extension_of
from state.catalog import BUCKETS, REFERENCE_BUCKET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ourvidz.db.connection import Database
    from ourvidz.storage.base import ArtifactStore


@dataclass(frozen=True)
class Picture:
    """A file's original bytes. Decoded it would be many times as large, and an attestation covers the file that the user has."""

    data: bytes
    media_type: str


def read(file: Path) -> Picture:
    """Read a file and check it with the executors' decoder. Raises `Problem`."""
    limit = BUCKETS[REFERENCE_BUCKET].max_bytes
    try:
        if not file.is_file():
            raise Problem(f"{file} is no file." if file.exists() else f"There is no file {file}.", 2)
        if (found := file.stat().st_size) > limit:
            raise Problem(f"{file} has {formatting.size(found)}; a reference may have {formatting.size(limit)}.", 2)
        data = file.read_bytes()
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror}.", 2) from error
    executors = able("A reference picture", ("PIL", "pillow_heif"))
    try:
        return Picture(data, executors.reference_type(data))
    except Exception as error:
        word = getattr(error, "error_class", None)
        if word not in ("bad_reference", "reference_away"):
            raise
        raise Problem(f"{file}: {error}", 2 if word == "bad_reference" else 1) from error


def attest(db: Database, user_id: str, pictures: Sequence[bytes], agreed: bool) -> None:
    """Record for this user that these pictures may be used, after consent was given: `agreed`, or asked for here. No executor looks at
    them before. Raises `Problem` without consent."""
    from ourvidz.db import safety
    from ourvidz.safety import consent

    digests = {hashlib.sha256(picture).hexdigest() for picture in pictures}
    fresh = [sha256 for sha256 in sorted(digests) if safety.why_no_consent(db, user_id, sha256)]
    if fresh and not agreed:
        confirm(consent.QUESTION, yes=False, flag="--i-have-consent")
    for sha256 in fresh:
        safety.attest(db, user_id, sha256, consent.VERSION)
        if safety.why_no_consent(db, user_id, sha256):
            raise Problem(
                f"The picture {sha256[:12]}… was made from one whose consent was withdrawn, and no model may see it until that one is "
                "attested again. `ourvidz consent ls --withdrawn` lists them."
            )


def keep(store: ArtifactStore, user_id: str, picture: Picture) -> str:
    """Store the picture once, under its own hash; returns `bucket/path` for a job's references."""
    ending = extension_of(picture.media_type)
    path = f"{user_id}/references/{hashlib.sha256(picture.data).hexdigest()[:32]}.{ending}"
    with tempfile.NamedTemporaryFile(suffix=f".{ending}") as file:
        file.write(picture.data)
        file.flush()
        store.put(REFERENCE_BUCKET, path, Path(file.name), picture.media_type)
    return f"{REFERENCE_BUCKET}/{path}"
