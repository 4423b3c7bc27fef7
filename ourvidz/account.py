"""Support for accounts without a name or a home, as containers run programs (`docker run --user 54321`, OpenShift, systemd's
DynamicUser)."""

from __future__ import annotations

import os
import pwd
from collections.abc import MutableMapping
from pathlib import Path

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # where getpass.getuser looks before it asks the system


class NoHome(Exception):
    """A path begins with `~`, and the account has no home."""


def begin(environ: MutableMapping[str, str] | None = None) -> None:
    """Run at the start of each process of ours; its children inherit the result. Libraries ask the system for name and home, and fail or
    make a folder named `~` in the working directory (huggingface_hub's cache, torch's and Triton's for compiled code). The name is made
    from the uid; the home is OURVIDZ_HOME, if that is set and HOME is no writable folder."""
    environ = os.environ if environ is None else environ
    if _known():
        return
    if not any(environ.get(name) for name in NAMES):
        environ["USER"] = f"uid-{os.getuid()}"
    if not os.access(environ.get("HOME") or "", os.W_OK) and (ours := environ.get("OURVIDZ_HOME", "")) and not ours.startswith("~"):
        environ["HOME"] = os.path.abspath(ours)  # noqa: PTH100  (nothing is resolved)


def folder(path: Path) -> Path:
    """Return an absolute path, `~` resolved. Raises `NoHome`."""
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise NoHome(
            f"{path}: there is no home to begin at (HOME is not set, and uid {os.getuid()} has no entry in /etc/passwd). "
            "Set OURVIDZ_HOME to a folder that this account may write, or give the path from / on."
        ) from None


def _known() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True
