"""Checks of `ourvidz doctor` on secrets, files that others can read, and logins without limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ourvidz import file_permissions, secret_risks
from ourvidz.checks import Line
from ourvidz.cli import formatting

if TYPE_CHECKING:
    from ourvidz.config import Config
    from ourvidz.db.connection import Database

SHOWN = 5


def secrets(config: Config) -> Iterator[Line]:
    """For each secret that is set here, what a leak would expose. Never prints the secret."""
    for secret in secret_risks.SECRETS:
        there = [name for name in secret.names if _is_here(name, config.home)]
        if there:
            found = f"{there[0]}, {secret.what}. Leaked, it opens: {secret.opens}. It does not open: {secret.not_opened}."
            yield Line("ok", "secret", found, f"After a leak: {secret.after}.")


def _is_here(name: str, home: Path) -> bool:
    return (home / name.partition("/")[2]).exists() if "/" in name else bool(os.environ.get(name))


def exposed(config: Config) -> list[file_permissions.Exposed]:
    """Files and folders of this program that other users of this machine may read, write or enter."""
    return list(file_permissions.exposed([config.home, config.storage, config.models], shared=[config.models, config.home / "models-tiny"]))


def files(config: Config) -> Iterator[Line]:
    found = exposed(config)
    if not found:
        yield Line("ok", "files", f"nobody else on this machine reads what lies in {config.home}")
        return
    named = ", ".join(str(one) for one in found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    said = f"{formatting.count(len(found), 'file')} or folders that others on this machine may read or write: {named}"
    yield Line("warn", "files", said, "`ourvidz doctor --fix` takes their permissions away.")


def logins(database: Database) -> Iterator[Line]:
    from ourvidz.db import logins

    found = logins.found(database)
    for login in found:
        if login.lacks:
            said = f"{login.name} ({', '.join(login.roles)}): {'; '.join(login.lacks)}"
            yield Line("warn", "logins", said, f"`ourvidz logins repair {login.name}`, as the role that made it.")
    if found and not any(login.lacks for login in found):
        yield Line("ok", "logins", f"{formatting.count(len(found), 'login')}, each with its limits")
