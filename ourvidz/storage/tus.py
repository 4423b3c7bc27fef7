"""A resumable upload (TUS 1.0, https://tus.io/protocols/resumable-upload) to Supabase Storage, in the 6 MB pieces that it asks for.

The upload's id is kept in a note beside the file, so that after a kill the next process on the same host resumes it. After a lost answer
the server is asked for its offset; our own count is not trusted.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ourvidz.storage.api import Api
from ourvidz.storage.base import ObjectExists, ObjectMissing, SourceLost, StorageUnavailable
from ourvidz.storage.refusals import Away

PIECE = 6 * 1024 * 1024
_PATH = "/upload/resumable"
_VERSION = {"tus-resumable": "1.0.0"}
_READ = 1 << 16


@dataclass(frozen=True)
class Target:
    """The destination of an upload. `size` in bytes."""

    bucket: str
    name: str
    media_type: str
    size: int

    def __str__(self) -> str:
        return f"uploading {self.bucket}/{self.name}"


def note_of(source: Path) -> Path:
    return source.with_name(f"{source.name}.upload")


def upload(api: Api, target: Target, file: BinaryIO, note: Path) -> None:
    """Upload the whole file. Raises what `Api.send` does; after broken connections only if several tries in a row made no progress."""
    upload_id = _noted(note, target)
    offset = _offset(api, target, upload_id) if upload_id else None
    if upload_id is None or offset is None:
        upload_id, offset = _begin(api, target), 0
        _keep(note, target, upload_id)
    while offset < target.size:
        offset = _piece(api, target, file, upload_id, offset)


def _piece(api: Api, target: Target, file: BinaryIO, upload_id: str, offset: int) -> int:
    """Send the piece at `offset`; returns the server's offset afterwards, which is larger."""
    sure = True
    for attempt in api.patience((Away, ObjectExists)):
        with attempt:
            if not sure:
                there = _offset(api, target, upload_id)
                if there is None:
                    raise StorageUnavailable(f"{target}: the server has forgotten the upload; it begins again at the next try")
                if there > offset:
                    return there
            sure = False  # until it answers; a 409 may also mean that its offset differs from ours
            length = min(PIECE, target.size - offset)
            headers = {**_VERSION, "upload-offset": str(offset), "content-length": str(length)}
            headers["content-type"] = "application/offset+octet-stream"
            response = api.send("PATCH", f"{_PATH}/{upload_id}", str(target), headers=headers, content=span(file, offset, length))
            return _count(response.headers.get("upload-offset"), target)
    raise AssertionError("tenacity gives the last error")


def _begin(api: Api, target: Target) -> str:
    about = {"bucketName": target.bucket, "objectName": target.name, "contentType": target.media_type, "cacheControl": "3600"}
    metadata = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in about.items())
    headers = {**_VERSION, "upload-length": str(target.size), "upload-metadata": metadata}
    response = api.ask("POST", _PATH, str(target), headers=headers)  # an upload begun twice is left to expire
    # Only the last segment is used: behind a gateway its host and prefix may differ, and our key must not go elsewhere.
    upload_id = str(response.headers.get("location", "")).rstrip("/").rpartition("/")[2]
    if not upload_id:
        raise StorageUnavailable(f"{target}: the server began an upload and did not say where")
    return upload_id


def _offset(api: Api, target: Target, upload_id: str) -> int | None:
    """The number of bytes that the server has; None if it does not know the upload (any more)."""
    try:
        response = api.ask("HEAD", f"{_PATH}/{upload_id}", str(target), headers=_VERSION)
    except ObjectMissing:
        return None
    return _count(response.headers.get("upload-offset"), target)


def _count(text: str | None, target: Target) -> int:
    if text is None or not text.isdigit() or int(text) > target.size:
        raise StorageUnavailable(f"{target}: the server counts {text!r} of {target.size} bytes")
    return int(text)


def span(file: BinaryIO, offset: int, length: int) -> Iterator[bytes]:
    """Yield these bytes of the file in small chunks. Raises `SourceLost` if the file has become shorter."""
    file.seek(offset)
    while length:
        chunk = file.read(min(_READ, length))
        if not chunk:
            raise SourceLost("the file became shorter while it was sent")
        length -= len(chunk)
        yield chunk


def _noted(note: Path, target: Target) -> str | None:
    """The id, from the note, of an upload that was begun earlier with this size to this name; None if there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(note.read_text(encoding="utf-8"))
        if found["name"] == f"{target.bucket}/{target.name}" and found["size"] == target.size:
            return str(found["upload"])
    return None


def _keep(note: Path, target: Target, upload_id: str) -> None:
    temporary = note.with_name(f"{note.name}.{os.getpid()}")
    with suppress(OSError):  # if the folder is not writable, the upload starts over after a kill
        temporary.write_text(
            json.dumps({"name": f"{target.bucket}/{target.name}", "size": target.size, "upload": upload_id}), encoding="utf-8"
        )
        temporary.replace(note)
