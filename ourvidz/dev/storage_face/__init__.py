"""Supabase Storage's HTTP API over a folder (`face.ts`, on Deno with npm's @tus/server): how it is started."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ourvidz.dev.parts import Parts
from ourvidz.dev.process import Process, answering, on_free_port

_HERE = Path(__file__).parent


def command(parts: Parts, root: Path, secret: str, *, limit: int | None = None) -> tuple[list[str], Mapping[str, str]]:
    """What runs it, and in which environment, PORT beside that: it listens there on 127.0.0.1. Objects are kept under `root`, tokens are
    those of `secret` (the project's JWT secret), and no object may be larger than `limit` bytes.
    """
    program = _beside_modules(parts.folder)
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Each right is named: the program is ours, the libraries are not.
    rights = ["--allow-net=127.0.0.1", "--allow-env", f"--allow-read={root},{parts.folder}", f"--allow-write={root}"]
    argv = [str(parts.deno), "run", "--quiet", "--no-prompt", "--no-remote", "--node-modules-dir=manual", *rights, str(program)]
    told = {"ROOT": str(root), "JWT_SECRET": secret, **({"FILE_SIZE_LIMIT": str(limit)} if limit else {})}
    return argv, {**parts.deno_env, **told}


@contextlib.contextmanager
def running(parts: Parts, root: Path, secret: str, *, limit: int | None = None) -> Iterator[str]:
    """The face, up as long as the block lasts; gives what SUPABASE_URL is. Raises NotUp with what it said if it does not start."""
    argv, told = command(parts, root, secret, limit=limit)

    def start(port: int) -> Process:
        process = Process("storage", argv, root / "log", {**told, "PORT": str(port)})
        return process.until(answering(f"http://127.0.0.1:{port}/status"))

    process, port = on_free_port(start)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def _beside_modules(folder: Path) -> Path:
    """Deno looks for node_modules beside a program and above it, so the program is put there; once for each of its versions."""
    sources = sorted(_HERE.glob("*.ts"))
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in sources)).hexdigest()[:12]
    place = folder / f"storage-{digest}"
    if not place.exists():
        new = folder / f"{place.name}.{os.getpid()}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        for file in sources:
            shutil.copy(file, new)
        with contextlib.suppress(OSError):  # another process was first
            new.rename(place)
        shutil.rmtree(new, ignore_errors=True)
    return place / "face.ts"
