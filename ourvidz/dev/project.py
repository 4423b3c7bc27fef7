"""The project that `ourvidz dev up` gives a person: one home, its keys and people kept, so that what was copied once goes on working."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ourvidz.dev.stack import Keys, Stack
from ourvidz.dev.tokens import Secret

MONTH = 30 * 24 * 3600
TOKENS = 10_000


@dataclass(frozen=True)
class Person:
    name: str
    id: str
    verified: bool
    tokens: int


PEOPLE = (
    Person("USER", str(UUID(int=2)), verified=True, tokens=TOKENS),
    Person("UNVERIFIED_USER", str(UUID(int=3)), verified=False, tokens=0),
)


class AlreadyUp(Exception):
    """Another process has this home's stack up."""


def folder(home: Path) -> Path:
    return home / "dev"


@contextmanager
def alone(home: Path) -> Iterator[Path]:
    """The home's folder for the stack, ours until the end. Raises AlreadyUp."""
    place = folder(home)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (place / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUp(f"The stack of {home} is up already; `ourvidz dev env` prints its addresses and keys.") from None
        yield place


def keys(place: Path) -> Keys:
    """Made once, readable by their owner alone."""
    file = place / "keys.json"
    if file.exists():
        found = json.loads(file.read_text())
        return Keys(Secret(found["jwt_secret"]), found["upstash_token"], found["callback_secret"])
    made = Keys()
    _private(
        file, json.dumps({"jwt_secret": made.secret.value, "upstash_token": made.upstash_token, "callback_secret": made.callback_secret})
    )
    return made


def environment(stack: Stack, home: Path) -> dict[str, str]:
    """What `ourvidz up`, `ourvidz intake` and the curl examples need. DATABASE_URL is emptied: the embedded Postgres of this home."""
    found = {"DATABASE_URL": "", "OURVIDZ_HOME": str(home), **stack.environment}
    for person in PEOPLE:
        found |= {f"{person.name}_ID": person.id, f"{person.name}_TOKEN": stack.secret.user(person.id, expires_in=MONTH)}
    return found


def keep(place: Path, variables: Mapping[str, str]) -> Path:
    file = place / ".env"
    _private(file, "".join(f"{name}={value}\n" for name, value in variables.items()))
    return file


def kept(home: Path) -> dict[str, str] | None:
    """As `keep` wrote them; None where the stack has never been up."""
    try:
        lines = (folder(home) / ".env").read_text().splitlines()
    except FileNotFoundError:
        return None
    return dict(line.split("=", 1) for line in lines)


def _private(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    new.replace(file)
