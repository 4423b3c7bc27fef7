"""Parse `ourvidz migrate --trust`: which values (balance, plan, age) that legacy users wrote about themselves are trusted."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ourvidz.cli import out, resolve

if TYPE_CHECKING:
    from ourvidz.db.reconcile import Beliefs

WHAT = ("balance", "plan", "age")


def beliefs(said: Sequence[str] | None, start: int) -> Beliefs:
    """Parse values such as `balance=all` or `age=FILE`. A file holds one user id a line; text after a # is a comment."""
    from ourvidz.db.reconcile import Beliefs

    chosen: dict[str, str | list[str]] = {}
    for one in said or ():
        what, mark, whom = one.partition("=")
        if what == "role":
            raise out.Problem("A role is believed only where auth.users says it too (raw_app_meta_data.role): that needs no option.", 2)
        if what not in WHAT or not mark or not whom:
            raise out.Problem(f"--trust {one}: say {', '.join(f'{w}=none|all|FILE' for w in WHAT)}; a file has users' ids, one a line.", 2)
        if what in chosen:
            raise out.Problem(f"--trust {what} is said twice.", 2)
        chosen[what] = whom if whom in ("none", "all") else _users(Path(whom))
    return Beliefs(**chosen, start=start, by=resolve.actor())


def _users(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise out.Problem(f"{file} cannot be read ({error.strerror}); say none, all, or a file of users' ids.", 2) from error
    found = []
    for n, line in enumerate(lines, 1):
        if not (word := line.partition("#")[0].strip()):
            continue
        try:
            found.append(str(uuid.UUID(word)))
        except ValueError:
            raise out.Problem(f"{file}, line {n}: {word[:60]!r} is not a user's id.", 2) from None
    return found
