"""Pictures that someone hands over on the command line: checked, re-encoded, and put where executors find a user's references."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ourvidz.cli import words
from ourvidz.cli.executor import able
from ourvidz.cli.out import Problem, confirm
from state.catalog import BUCKETS, PNG, REFERENCE_BUCKET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ourvidz.db.connection import Database
    from ourvidz.storage.base import ArtifactStore


def read(file: Path) -> bytes:
    """The picture as PNG, without whatever else the file held (where a photo was taken, say)."""
    limit = BUCKETS[REFERENCE_BUCKET].max_bytes
    try:
        if not file.is_file():
            raise Problem(f"{file} is no file." if file.exists() else f"There is no file {file}.", 2)
        if (found := file.stat().st_size) > limit:
            raise Problem(f"{file} has {words.size(found)}; a reference may have {words.size(limit)}.", 2)
        data = file.read_bytes()
    except OSError as error:
        raise Problem(f"{file} cannot be read: {error.strerror}.", 2) from error
    executors = able("A reference picture", ("PIL",))
    try:
        clean = executors.load_reference(data)
    except Exception as error:
        word = getattr(error, "error_class", None)
        if word not in ("bad_reference", "reference_away"):
            raise
        raise Problem(f"{file}: {error}", 2 if word == "bad_reference" else 1) from error
    if len(clean) > limit:
        raise Problem(f"{file} has {words.size(len(clean))} as PNG; a reference may have {words.size(limit)}. Make it smaller.", 2)
    return clean


def attest(db: Database, user_id: str, pictures: Sequence[bytes], agreed: bool) -> None:
    """Says for this user that these pictures may be used, once a person has said so: `agreed`, or asked here. No executor looks at them
    before. Raises `Problem` when nobody says so."""
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


def keep(store: ArtifactStore, user_id: str, picture: bytes) -> str:
    """Stores the picture once, under its own hash; returns `bucket/path` for a job's references."""
    path = f"{user_id}/references/{hashlib.sha256(picture).hexdigest()[:32]}.png"
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(picture)
        file.flush()
        store.put(REFERENCE_BUCKET, path, Path(file.name), PNG)
    return f"{REFERENCE_BUCKET}/{path}"
