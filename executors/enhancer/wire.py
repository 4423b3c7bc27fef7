"""The wire protocol: the socket's path, its key, and lines of JSON, one request per connection.

    → {"key", "prompt", "family", "deadline_s"}, {"key", "prompt", "negative", "deadline_s"} to judge, or {"key", "ping": true}
    ← {"waiting": n} or {"tokens": n}, every `BEAT` seconds, then
    ← {"text", "seconds", "tokens", "note"}, or {"verdict"}              or {"failed": error_class, "message"}; {"about"} for a ping

The client cancels by closing: the server then stops at its next token. Either end sees the other's death as end of stream.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from ourvidz import account

BEAT = 0.25  # seconds between two signs of life
LONGEST = 256 * 1024  # bytes of a line: 4,000 characters, each escaped as two \uXXXX, are 48,000
ADDRESS_MAX = 100  # bytes: the kernel takes 107 at most, macOS 103
AUTO, OFF = "auto", "off"


class BadLine(Exception):
    """Not a line of this protocol: not a JSON object, or too long."""


def address(home: Path, chosen: str = AUTO) -> Path:
    """Return the socket's path: that of `OURVIDZ_ENHANCER`, else `enhancer.sock` in this home, or under /tmp if that is too long."""
    if chosen not in (AUTO, OFF):
        return account.folder(Path(chosen))
    path = home / "enhancer.sock"
    if len(os.fsencode(path)) <= ADDRESS_MAX or not home.exists():
        return path
    found = home.stat()  # by inode, so that every path to a home leads to one enhancer
    return Path("/tmp", f"ourvidz-enhancer-{hashlib.sha256(f'{found.st_dev}:{found.st_ino}'.encode()).hexdigest()[:12]}", "enhancer.sock")


def make_private(folder: Path) -> None:
    """Create the socket's folder. Under /tmp it must be private to us: anyone may have made one of that name before."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if folder.parent == Path("/tmp") and (not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077):
        raise PermissionError(f"{folder} is in the way: it should be a private folder of ours. Remove it and try again.")


def new_key(socket: Path) -> str:
    """Write a new key next to the socket, with mode 0600. A client that presents an old key is rejected and rereads the file."""
    key, fresh = secrets.token_hex(32), socket.with_suffix(".key.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
        file.write(key)
    fresh.rename(socket.with_suffix(".key"))
    return key


def read_key(socket: Path) -> str:
    return socket.with_suffix(".key").read_text(encoding="utf-8").strip()


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as error:
        raise BadLine(f"{len(line)} bytes that are no JSON") from error
    if not isinstance(message, dict):
        raise BadLine("JSON that is no object")
    return message
