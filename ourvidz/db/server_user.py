"""The uid that the embedded Postgres runs as. initdb and postgres refuse root, so root hands them to another uid.

Nothing is created in /etc/passwd for that, and no folder of root's is opened to others: if the server must pass a private folder on its way
(/root/.ourvidz, a venv below /root), it keeps the one capability that lets it pass.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
import sys
from pathlib import Path

from ourvidz.db import supervisor

# Root's server runs as the first of these that no account has: a uid of its own, because `nobody` is shared with other programs. systemd
# lists 60706 to 61183 as unused; below 65536, so that rootless containers have it.
UNNAMED_UIDS = range(61117, 61127)


class EmbeddedPostgresError(Exception):
    """The embedded Postgres failed. The message has the cause, the end of the log if it helps, and what to do now."""


def server_user(folder: Path, data: Path) -> tuple[int, int]:
    """Return (uid, gid): our own; or, for root, those of the data's owner, else of the folder's owner, else a uid without a name."""
    owner = (data if data.exists() else folder).stat()
    if os.geteuid() != 0:
        if owner.st_uid != os.geteuid():
            raise EmbeddedPostgresError(
                f"{data} belongs to uid {owner.st_uid}, and this is uid {os.geteuid()}: it was made by root or another account. "
                "Run as that one, or set OURVIDZ_HOME to a folder of your own."
            )
        return os.geteuid(), os.getegid()
    if sys.platform == "linux" and not _own_capabilities() >> supervisor.CAP_DAC_OVERRIDE & 1:
        raise EmbeddedPostgresError(
            "This root may not open other accounts' files (CAP_DAC_OVERRIDE is missing), and Postgres refuses to run as root. "
            "Run as an ordinary user, or set DATABASE_URL."
        )
    if owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    uid = next(uid for uid in UNNAMED_UIDS if not _has_account(uid))
    return uid, uid


def with_account(uid: int, gid: int) -> tuple[int, int]:
    """Return (uid, gid) for initdb, which, unlike the server, insists that its uid has a name. As root it borrows nobody's for half a
    second."""
    if _has_account(uid):
        return uid, gid
    others = sorted((a for a in pwd.getpwall() if a.pw_uid != 0), key=lambda a: a.pw_name != "nobody")
    if os.geteuid() != 0 or not others:
        raise EmbeddedPostgresError(
            f"uid {uid} has no name in /etc/passwd, and initdb refuses to work without one. "
            "Run under a named account (in a container: root, or a user that the image knows), or set DATABASE_URL."
        )
    return others[0].pw_uid, others[0].pw_gid


def _has_account(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def capability_for(uid: int, binaries: Path, data: Path) -> int | None:
    """Return the capability that root must leave to the server so that it reaches its files below private folders; None if it needs
    none."""
    if os.geteuid() != 0 or uid == 0:
        return None

    def may(path: Path, need: int) -> bool:
        found = path.stat()
        return found.st_mode & need == need or (found.st_uid == uid and found.st_mode >> 6 & need == need)

    programs = [(binaries / "postgres").resolve(), (binaries / "initdb").resolve()]
    runnable = all(may(program, 0o5) for program in programs)
    on_the_way = {folder for path in (*programs, data.resolve()) for folder in path.parents}
    closed = sorted(str(folder) for folder in on_the_way if not may(folder, 0o1))
    if runnable and not closed:
        return None
    ours = _own_capabilities()
    # READ_SEARCH is the lesser one, but does not help to execute, and containers by default grant only OVERRIDE.
    lesser = runnable and ours >> supervisor.CAP_DAC_READ_SEARCH & 1
    capability = supervisor.CAP_DAC_READ_SEARCH if lesser else supervisor.CAP_DAC_OVERRIDE
    if ours >> capability & ours >> supervisor.CAP_SETPCAP & 1:
        return capability
    raise EmbeddedPostgresError(
        f"Postgres cannot run as root, and the unprivileged uid {uid} cannot pass {', '.join(closed) or programs[0]}. Set OURVIDZ_HOME "
        "(or PG_BIN) to an existing folder that everybody may pass (chmod 711), run as an ordinary user, or set DATABASE_URL."
    )


def _own_capabilities() -> int:
    try:
        found = re.search(r"^CapPrm:\s*(\w+)", Path("/proc/self/status").read_text(encoding="utf-8"), re.M)
    except OSError:  # macOS has none
        return 0
    return int(found[1], 16) if found else 0


def give(path: Path, uid: int, gid: int) -> None:
    """Change the owner of `path`, as root; for anybody else it is theirs already."""
    if os.geteuid() != 0:
        return
    try:
        os.chown(path, uid, gid, follow_symlinks=False)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"Postgres refuses to run as root, and {path} cannot be given to uid {uid}: {error}. "
            "Run as an ordinary user, set OURVIDZ_HOME to a local disk, or set DATABASE_URL."
        ) from error


def make_socket_dir(path: Path, uid: int, gid: int) -> None:
    """Create the socket's folder, private to the server's uid: whoever can enter it is trusted to say who they are."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if found.st_uid == 0 == os.geteuid() and stat.S_ISDIR(found.st_mode):
        give(path, uid, gid)
        found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise EmbeddedPostgresError(f"{path} is in the way: it should be a private folder of uid {uid}. Remove it and try again.")
