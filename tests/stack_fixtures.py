"""Fixtures for the real services around Postgres: Valkey, the Upstash REST server, PostgREST, Deno, Storage, the gateway, PgBouncer.

The first run downloads them into a cache; later runs need no network. A missing part fails the test.
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
from ourvidz.dev import services
from ourvidz.dev.keys import Keys
from ourvidz.dev.parts import Parts, bring
from ourvidz.dev.pgbouncer import Program
from ourvidz.dev.pgbouncer import pgbouncer as find_pgbouncer
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
    """A Supabase project and an Upstash database for tests."""

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
        """A client with supabase-js's headers: the anon key and the user's token; without a token, the anon key alone."""
        bearer = token.token if isinstance(token, User) else token or self.anon_key
        return httpx.Client(base_url=self.url, headers={"apikey": self.anon_key, "Authorization": f"Bearer {bearer}"}, timeout=LIMIT)


def new_keys(parts: Parts) -> Keys:
    """Keys of a project that has migrated to ES256: the legacy secret no longer signs, but still verifies."""
    secret = Secret()
    signing = [{"status": "in_use", "jwk": _signing_key(parts)}, {"status": "previously_used", "jwk": secret.jwk}]
    return Keys(secret, UPSTASH_TOKEN, signing=signing)


@cache
def _signing_key(parts: Parts) -> dict[str, Any]:
    """Made once per session: it takes a program start."""
    return services.signing_key(parts)


@pytest.fixture(scope="session")
def parts() -> Parts:
    return bring()


@pytest.fixture(scope="session")
def valkey(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server per session; `upstash` empties it."""
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
    """The Upstash REST server over an empty Valkey, without faults: `upstash.drop("LMOVE")` loses the reply to the next one."""
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
    """Create projects, each on its own migrated database: `new_project(functions=folder)`. About a second each."""
    with projects(parts, server, template, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def standing_project(parts: Parts, server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project per session, for modules whose tests only read rows of users they created, claim no job and change no setting."""
    with projects(parts, server, template, tmp_path_factory) as make:
        yield make()


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    """The whole stack, shared by a module's tests, which tell their rows apart by user."""
    return new_project()


@pytest.fixture(scope="module")
def new_js(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., SupabaseJs]]:
    """Create a supabase-js for a project, with its publishable key or another: `new_js(project)`, `new_js(project, project.anon_key)`."""
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
    """Run Deno, `deno("test", "--cached-only", cwd=folder)`, and return the result whatever the exit code."""

    def run(*args: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        given = {**os.environ, **parts.deno_env, **(env or {})}
        return subprocess.run([parts.deno, *args], cwd=cwd, env=given, capture_output=True, text=True, timeout=LIMIT)

    return run


@pytest.fixture(scope="session")
def pgbouncer_program() -> Program:
    return find_pgbouncer()


@pytest.fixture
def pgbouncer(pgbouncer_program: Program, server: Server, database_name: str, tmp_path: Path) -> Iterator[Pooler]:
    """PgBouncer in front of this test's database: use `pgbouncer.url` instead of the database's own."""
    pooler = Pooler(pgbouncer_program, server.url(database_name), tmp_path / "pgbouncer")
    yield pooler
    pooler.close()
