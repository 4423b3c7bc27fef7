"""A project as clients see it: its database and stack, its users, and an executor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from stack_fixtures import Project
from support import Server
from waiting import LIMIT

from executors.shelf import Shelf
from executors.worker import Worker
from ourvidz.bootstrap import App
from ourvidz.config import Config
from ourvidz.db import enhancement
from ourvidz.db.connection import Database
from ourvidz.dev.parts import Parts
from ourvidz.dev.stack import Stack
from ourvidz.intake.drain import Drainer
from ourvidz.intake.message import QUEUES
from ourvidz.intake.upstash import Upstash
from ourvidz.lifecycle import Jobs
from ourvidz.safety.lexical import LexicalScreen
from ourvidz.storage.buckets import bring, compare
from state.catalog import BUCKETS

from .drivers import Driver
from .fake_executor import Maker

PASSWORD = "correct horse battery staple"
TOKENS = 100_000
PEOPLE = ("user", "other", "admin")
SCREEN = LexicalScreen()  # loads its rules once per process
STRANGERS = ("anon", "visitor", "namesake", "service")


class House:
    """`name` is the database's kind: fresh or production."""

    def __init__(self, name: str, project: Project, superuser_url: str, home: Path) -> None:
        self.name, self.project, self.home = name, project, home
        self.database: Database = project.database
        self.superuser_url = superuser_url
        self.jobs = Jobs(self.database, SCREEN)

    @property
    def public_key(self) -> str:
        """The front end's key: the legacy key in a deployed one, a publishable key in a new project's."""
        return self.project.anon_key if self.name == "production" else self.project.publishable_key

    @property
    def service_key(self) -> str:
        return self.project.service_key if self.name == "production" else self.project.secret_key

    @cached_property
    def app(self) -> App:
        given = {"database_url": self.database.url, "ourvidz_home": self.home}
        return App(Config(**given, **{name.lower(): value for name, value in self.project.environment.items()}))  # type: ignore[arg-type]

    @cached_property
    def maker(self) -> Maker:
        return Maker(self.jobs, self.app.store)

    def value(self, query: str) -> Any:
        """A query's single value, as the server's superuser."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            found = connection.execute(query.encode()).fetchone()
        return found and found[0]

    def run(self, statement: str) -> None:
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def welcome(self, driver: Driver) -> dict[str, dict[str, str]]:
        """Sign up users through this library: two users whose age an operator has verified, and an admin, each signed in. Also opens
        clients for `anon` and `service`. Returns id and email by name."""
        for name in (*STRANGERS, *PEOPLE):
            driver.open(f"{driver.name}/{name}", self.project.url, self.service_key if name == "service" else self.public_key)
        found = {}
        for name in PEOPLE:
            email = f"{name}.{driver.name}@example.org"
            account = {"email": email, "password": PASSWORD}
            answer = driver.call(f"{driver.name}/{name}", [["auth"], ["signUp", account]])
            assert answer["error"] is None, answer
            found[name] = {"id": answer["data"]["user"]["id"], "email": email, "password": PASSWORD}
            self.verify(found[name]["id"])
        self.run(f"""update auth.users set raw_app_meta_data = coalesce(raw_app_meta_data, '{{}}') || '{{"role": "admin"}}'
                     where id = '{found["admin"]["id"]}'""")
        for name in PEOPLE:  # sign in again: a token holds the claims of its signing time
            account = {"email": found[name]["email"], "password": PASSWORD}
            answer = driver.call(f"{driver.name}/{name}", [["auth"], ["signInWithPassword", account]])
            assert answer["error"] is None, answer
            found[name]["token"] = answer["data"]["session"]["access_token"]
        return found

    def verify(self, user: str, tokens: int = TOKENS) -> None:
        """The operator's part: verify the user's age, grant tokens, and set a plan that allows many queued jobs."""
        self.database.rows("update public.profiles set age_verified = true, subscription_status = 'premium' where id = %s", (user,))
        self.database.rows("select ourvidz.grant_tokens(%s, %s, 'for the contract')", (user, tokens))

    def drain(self) -> dict[str, int]:
        """Drain the intake once and return the counts by result."""
        drainer = Drainer(self.database, self.redis(), QUEUES)
        while drainer.once():
            pass
        return drainer.totals

    def redis(self) -> Upstash:
        return Upstash(self.project.upstash.url, self.project.upstash.token)

    @contextmanager
    def enhancer(self) -> Iterator[None]:
        """Answers the prompt dialog at once with fixed text: the model is tested in tests/executors."""
        leaving = threading.Event()

        def answering() -> None:
            while not leaving.wait(0.05):
                if asked := enhancement.take(self.database, "contract"):
                    enhancement.answer(self.database, asked, f"{asked.prompt}, long exposure, soft light", {"tokens": 9})

        thread = threading.Thread(target=answering, daemon=True)
        thread.start()
        try:
            yield
        finally:
            leaving.set()
            thread.join(LIMIT)

    @contextmanager
    def executor(self, models: Path) -> Iterator[Worker]:
        """Run a real executor on that folder's tiny models within the `with` block."""
        worker = Worker(self.app.jobs, self.app.store, Shelf(models), self.home, name="tiny")
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join(LIMIT)


@contextmanager
def opened(name: str, database: str, server: Server, parts: Parts, home: Path, **more: Any) -> Iterator[House]:
    """A stack in front of `database`, with buckets created as by `ourvidz buckets sync`."""
    with ExitStack() as opened:
        owner = Database(server.url(database))
        opened.callback(owner.close)
        project = Project(opened.enter_context(Stack(parts, server.url(database, superuser=True), home / "stack", **more)), owner)
        house = House(name, project, server.url(database, superuser=True), home)
        for row in compare(house.app.store.api, BUCKETS):  # type: ignore[attr-defined]
            if row.state in ("missing", "differs"):
                bring(house.app.store.api, row)  # type: ignore[attr-defined]
        opened.enter_context(house.enhancer())
        yield house
