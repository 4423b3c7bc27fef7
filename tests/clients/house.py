"""A project as the clients meet it: its database, the stack before it, the people who use it and the executor behind it."""

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
from .maker import Maker

PASSWORD = "correct horse battery staple"
TOKENS = 100_000
PEOPLE = ("user", "other", "admin")
SCREEN = LexicalScreen()  # reads its rules once a process
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
        """What the front end is built with: a deployed one has the legacy key in it, that of a new project a publishable one."""
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
        """The one value of a query, as the server's superuser."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            found = connection.execute(query.encode()).fetchone()
        return found and found[0]

    def run(self, statement: str) -> None:
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def welcome(self, driver: Driver) -> dict[str, dict[str, str]]:
        """People who sign up by this library: two users whose age an operator has verified, and an admin; each signed in. `anon` and
        `service` have clients too. Returns them by name: id and email."""
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
        for name in PEOPLE:  # again: a token says what was true when it was signed
            account = {"email": found[name]["email"], "password": PASSWORD}
            answer = driver.call(f"{driver.name}/{name}", [["auth"], ["signInWithPassword", account]])
            assert answer["error"] is None, answer
            found[name]["token"] = answer["data"]["session"]["access_token"]
        return found

    def verify(self, user: str, tokens: int = TOKENS) -> None:
        """What an operator does for a user: age seen, tokens given, a plan that lets them queue many."""
        self.database.rows("update public.profiles set age_verified = true, subscription_status = 'premium' where id = %s", (user,))
        self.database.rows("select ourvidz.grant_tokens(%s, %s, 'for the contract')", (user, tokens))

    def drain(self) -> dict[str, int]:
        """The intake's one round: what became of the messages that were there."""
        drainer = Drainer(self.database, self.redis(), QUEUES)
        while drainer.once():
            pass
        return drainer.totals

    def redis(self) -> Upstash:
        return Upstash(self.project.upstash.url, self.project.upstash.token)

    @contextmanager
    def enhancer(self) -> Iterator[None]:
        """Answers the prompt dialog at once, with words of its own: the model's are tried in tests/executors."""
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
        """A real one, on the tiny models of that folder, while `with` lasts."""
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
    """A stack before `database`, its buckets made as `ourvidz buckets sync` makes them."""
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
