"""The real parts around Postgres, for tests: Valkey, Upstash's face, PostgREST, Deno, Storage, the gateway, PgBouncer.

The first run brings them into a cache; later ones need no network. A part that is missing fails the test.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from supabase_js import SupabaseJs
from support import Server, new_user
from waiting import LIMIT

from ourvidz.db.connection import Database
from ourvidz.dev import debian, services
from ourvidz.dev.keys import Keys
from ourvidz.dev.parts import Parts, bring
from ourvidz.dev.pooler import Pooler
from ourvidz.dev.stack import Stack
from ourvidz.dev.tokens import Secret
from ourvidz.dev.upstash import UpstashFace
from ourvidz.dev.valkey import Valkey

UPSTASH_TOKEN = "upstash-token-of-the-tests"


@dataclass(frozen=True)
class User:
    id: str
    token: str


class Project:
    """A Supabase project and an Upstash database, as a test meets them."""

    def __init__(self, stack: Stack, database: Database) -> None:
        self.stack, self.database = stack, database
        self.url, self.upstash, self.valkey, self.secret = stack.url, stack.upstash, stack.valkey, stack.secret
        self.anon_key, self.service_key, self.environment = stack.anon_key, stack.service_key, stack.environment
        self.publishable_key, self.secret_key = stack.publishable_key, stack.secret_key

    def user(self, plan: str = "free", *, verified: bool = True, admin: bool = False) -> User:
        found = new_user(self.database, plan, verified=verified)
        self.database.rows("insert into auth.users (id, email) values (%s, %s)", (found, f"{found}@example.com"))
        return User(found, self.secret.user(found, admin=admin))

    def client(self, token: str | User | None = None) -> httpx.Client:
        """As supabase-js would ask: the anon key beside the user's token; without one, the anon key alone."""
        bearer = token.token if isinstance(token, User) else token or self.anon_key
        return httpx.Client(base_url=self.url, headers={"apikey": self.anon_key, "Authorization": f"Bearer {bearer}"}, timeout=LIMIT)


def new_keys(parts: Parts) -> Keys:
    """As a project has them that went over to ES256: the legacy secret signs nothing new, and what it signed is still good."""
    secret = Secret()
    signing = [{"status": "in_use", "jwk": _signing_key(parts)}, {"status": "previously_used", "jwk": secret.jwk}]
    return Keys(secret, UPSTASH_TOKEN, signing=signing)


@cache
def _signing_key(parts: Parts) -> dict[str, Any]:
    """One a session: it takes a program's start to make."""
    return services.signing_key(parts)


@pytest.fixture(scope="session")
def parts() -> Parts:
    return bring()


@pytest.fixture(scope="session")
def valkey(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server a session; `upstash` empties it."""
    server = Valkey(parts.valkey, tmp_path_factory.mktemp("valkey")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _upstash(valkey: Valkey) -> Iterator[UpstashFace]:
    face = UpstashFace(valkey, UPSTASH_TOKEN)
    yield face
    face.close()


@pytest.fixture
def upstash(_upstash: UpstashFace) -> Iterator[UpstashFace]:
    """Upstash's REST face over an empty Valkey, without faults: `upstash.drop("LMOVE")` loses the next reply to one."""
    _upstash.valkey.call("FLUSHALL")
    _upstash.reset()
    yield _upstash
    _upstash.reset()


@contextmanager
def projects(parts: Parts, server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Project]]:
    with ExitStack() as opened:

        def make(**more: object) -> Project:
            name = server.create(template)
            opened.callback(server.drop, name)
            database = Database(server.url(name))
            opened.callback(database.close)
            more.setdefault("keys", new_keys(parts))
            started = Stack(parts, server.url(name, superuser=True), tmp_path_factory.mktemp("stack"), **more)  # type: ignore[arg-type]
            return Project(opened.enter_context(started), database)

        yield make


@pytest.fixture(scope="module")
def new_project(parts: Parts, server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Project]]:
    """Makes projects, each on a migrated database of its own: `new_project(functions=folder)`. About a second each."""
    with projects(parts, server, template, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def standing_project(parts: Parts, server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One for all modules whose tests only look at rows of users that they made, claim no job and leave settings as they were."""
    with projects(parts, server, template, tmp_path_factory) as make:
        yield make()


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    """The whole stack, shared by a module's tests: they tell their rows apart by their users."""
    return new_project()


@pytest.fixture(scope="module")
def new_js(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., SupabaseJs]]:
    """Makes a supabase-js for a project, with its publishable key or another: `new_js(project)`, `new_js(project, project.anon_key)`."""
    with ExitStack() as opened:

        def make(project: Project, key: str = "") -> SupabaseJs:
            folder = tmp_path_factory.mktemp("js")
            return opened.enter_context(SupabaseJs(parts, project.url, key or project.publishable_key, folder))

        yield make


@pytest.fixture
def rest(project: Project) -> str:
    return f"{project.url}/rest/v1"


@pytest.fixture(scope="session")
def deno(parts: Parts) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Deno: `deno("test", "--cached-only", cwd=folder)`. Its result, whatever the exit code."""

    def run(*args: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        given = {**os.environ, **parts.deno_env, **(env or {})}
        return subprocess.run([parts.deno, *args], cwd=cwd, env=given, capture_output=True, text=True, timeout=LIMIT)

    return run


@pytest.fixture(scope="session")
def pgbouncer_program() -> debian.Program:
    return debian.pgbouncer()


@pytest.fixture
def pgbouncer(pgbouncer_program: debian.Program, server: Server, database_name: str, tmp_path: Path) -> Iterator[Pooler]:
    """In front of this test's database: `pgbouncer.url` instead of the database's own."""
    pooler = Pooler(pgbouncer_program, server.url(database_name), tmp_path / "pgbouncer")
    yield pooler
    pooler.close()
