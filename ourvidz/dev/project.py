"""The project of `ourvidz dev up`: one home whose keys and users are kept, so that copied values stay valid."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ourvidz.db import conninfo
from ourvidz.dev.keys import Keys, private
from ourvidz.dev.stack import KEYS_FILE, Stack

MONTH = 30 * 24 * 3600
TOKENS = 10_000


@dataclass(frozen=True)
class Person:
    name: str
    id: str
    verified: bool
    tokens: int
    admin: bool = False

    @property
    def what(self) -> str:
        """A description for display."""
        return "sees everything, as an admin" if self.admin else f"{'' if self.verified else 'not '}age-verified, {self.tokens:,} tokens"

    @property
    def email(self) -> str:
        return f"{self.name.lower().removesuffix('_user').replace('_', '.')}@example.com"


PEOPLE = (
    Person("USER", str(UUID(int=2)), verified=True, tokens=TOKENS),
    Person("UNVERIFIED_USER", str(UUID(int=3)), verified=False, tokens=0),
    Person("ADMIN", str(UUID(int=4)), verified=True, tokens=TOKENS, admin=True),
)


class AlreadyUp(Exception):
    """Another process runs this home's stack."""


def folder(home: Path) -> Path:
    return home / "dev"


@contextmanager
def alone(home: Path) -> Iterator[Path]:
    """Lock the home's folder for the stack until exit. Raises AlreadyUp."""
    place = folder(home)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (place / "lock").open("a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUp(f"The stack of {home} is up already; `ourvidz dev env` prints its addresses and keys.") from None
        yield place


def keys(place: Path) -> Keys:
    """Read the stack's keys, or make new ones the first time."""
    file = place / KEYS_FILE
    return Keys.read(file) if file.exists() else Keys()


def as_superuser(url: str) -> str:
    """The embedded Postgres's URL with the superuser that created it."""
    return conninfo.conninfo(url, user="postgres")


def environment(stack: Stack, home: Path) -> dict[str, str]:
    """Variables for `ourvidz up`, `ourvidz intake` and the curl examples. An empty DATABASE_URL means this home's embedded Postgres."""
    found = {"DATABASE_URL": "", "OURVIDZ_HOME": str(home), **stack.environment}
    for person in PEOPLE:
        token = stack.secret.user(person.id, email=person.email, admin=person.admin, expires_in=MONTH)
        found |= {f"{person.name}_ID": person.id, f"{person.name}_EMAIL": person.email, f"{person.name}_TOKEN": token}
    return {**found, "PEOPLE_PASSWORD": stack.keys.people_password}


def make_passwords(stack: Stack) -> None:
    """Give the users passwords to sign in with. A user who can sign in already is left alone, so that earlier sessions go on."""
    from ourvidz.outbound import clients

    with clients.client(base_url=f"{stack.url}/auth/v1", headers={"apikey": stack.secret_key}, timeout=20) as auth:
        for person in PEOPLE:
            mine = {"email": person.email, "password": stack.keys.people_password}
            if auth.post("/token?grant_type=password", json=mine).status_code != 200:
                role = {"role": "admin"} if person.admin else {}
                auth.put(f"/admin/users/{person.id}", json={**mine, "app_metadata": role}).raise_for_status()


def keep(place: Path, variables: Mapping[str, str]) -> Path:
    file = place / ".env"
    private(file, "".join(f"{name}={value}\n" for name, value in variables.items()))
    return file


def kept(home: Path) -> dict[str, str] | None:
    """Read what `keep` wrote; None if the stack has never been up."""
    try:
        lines = (folder(home) / ".env").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return dict(line.split("=", 1) for line in lines)
