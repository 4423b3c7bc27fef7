"""Passwords of the embedded Postgres: a file in libpq's own format that only its owner can read, and a server that asks for them.

An earlier release's server accepted anyone who could enter its socket's folder. It is upgraded in place, in an order in which the next
start repairs a crash between any two steps: the file, the roles' passwords, then the rule that asks for them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ourvidz.db.server_user import give

if TYPE_CHECKING:
    from psycopg import Connection

FILE = "pgpass"
ASKING = """# Written by ourvidz at each start. The passwords lie in `pgpass`, beside this folder.
local all         all scram-sha-256
local replication all scram-sha-256
"""
LETTING_IN = """# Written by ourvidz, until the passwords are set: whoever passes the socket's folder is let in.
local all all trust
"""


def read(file: Path) -> dict[str, str]:
    """Return role → password; {} if there is no such file."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split(":", 4)[3:] for line in lines if line.count(":") >= 4)


def prepare(folder: Path, roles: tuple[str, ...], postmaster: int | None) -> None:
    """Create the file if it is missing, before the server is used. The caller holds start.lock; `postmaster`: its pid, if it runs."""
    file, data = folder / FILE, folder / "data"
    if set(roles) <= set(read(file)):
        return
    if data.exists() and _rule(data) == ASKING:  # the file was lost: allow access once more, to set new ones
        _put(data / "pg_hba.conf", LETTING_IN, data)
        if postmaster is not None:
            os.kill(postmaster, signal.SIGHUP)
    _put(file, "".join(f"*:*:*:{role}:{secrets.token_urlsafe(24)}\n" for role in roles), folder)


def enforce(connection: Connection[Any], folder: Path) -> None:
    """Make the server ask for the file's passwords from now on, once it answers a superuser. Usually there is nothing to do."""
    data = folder / "data"
    if _rule(data) == ASKING:
        return
    for role, password in read(folder / FILE).items():
        set_password(connection, role, password)
    _put(data / "pg_hba.conf", ASKING, data)
    connection.execute("select pg_reload_conf()")


def set_password(connection: Connection[Any], role: str, password: str) -> None:
    """Set a role's password. The server's verifier is computed here: the password itself is in no statement, and so in no log of the
    server."""
    from psycopg import sql

    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(verifier)))


def of(url: str, role: str) -> str | None:
    """Return the password of `role` on the server of `url`. Roles that are not in the file have one derived from the superuser's; None: a
    server that is not ours, whose roles have passwords of their own."""
    from ourvidz.db.conninfo import parameters

    file = parameters(url).get("passfile")
    known = read(Path(file)) if file else {}
    if "postgres" not in known:
        return None
    return known.get(role) or hmac.new(known["postgres"].encode(), role.encode(), hashlib.sha256).hexdigest()


def let_in(superuser_url: str, role: str) -> None:
    """Give a role its password (`of`), if it has another or none: roles belong to the whole server, and others may be using it."""
    import psycopg

    from ourvidz.db.conninfo import conninfo

    password = of(superuser_url, role)
    if password is None:
        return
    try:
        psycopg.connect(conninfo(superuser_url, user=role, password=password), connect_timeout=10).close()
    except psycopg.OperationalError:
        with psycopg.connect(conninfo(superuser_url), autocommit=True, connect_timeout=10) as connection:
            set_password(connection, role, password)


def _rule(data: Path) -> str:
    try:
        return (data / "pg_hba.conf").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _put(file: Path, text: str, like: Path) -> None:
    """Write atomically, readable by the owner of `like` alone. No symlink is followed: root may be visiting another account's home."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    owner = like.stat()
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    give(new, owner.st_uid, owner.st_gid)
    new.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
