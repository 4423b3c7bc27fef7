"""The only composition root: builds the program's objects from the environment.

Heavy modules are imported inside functions, so that `--help` does not wait for them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from ourvidz.config import Config, config
from state.catalog import BUCKETS
from state.errors import JobError

log = logging.getLogger("ourvidz")

if TYPE_CHECKING:
    from ourvidz.db.connection import Database
    from ourvidz.db.schema_objects import Release
    from ourvidz.delivery.sending import Keyring
    from ourvidz.lifecycle import Jobs
    from ourvidz.storage.base import ArtifactStore

LOCAL_USER = str(UUID(int=1))
"""The one verified profile of embedded, single-user mode."""
LOCAL_TOKENS = 1_000_000


class NotMigrated(JobError):
    """The database has an older release than this program. `ourvidz migrate` upgrades it."""

    code = "not_migrated"


class NotServed(JobError):
    """The database has a newer release that does not serve programs as old as this one."""

    code = "not_served"


@dataclass(frozen=True)
class App:
    """The program, assembled from the environment. Parts are created on first use."""

    config: Config
    patience: float = 0.0
    """Seconds to wait for a database that is away: infinity for background processes, which have nothing else to do."""

    @property
    def embedded(self) -> bool:
        return self.config.database_url is None

    @cached_property
    def database_url(self) -> str:
        if self.config.database_url is not None:
            return self.config.database_url.get_secret_value()
        from ourvidz.db.embedded import embedded_url

        return embedded_url(self.config.home)

    @cached_property
    def database(self) -> Database:
        """Connected, and at this program's schema: the embedded database is migrated here; another is only checked. If its rows came from
        another database and nobody has said yet which of the two goes on, waits for that, or raises DatabaseIsCopy."""
        from ourvidz.db.connection import Database

        database = Database(self.database_url, revive=self._revive if self.embedded else None)
        database.waits, database.waits_for_decision = self.patience > 0, math.isinf(self.patience)
        database.patiently(lambda: self._prepare(database), patience=self.patience)
        return database

    def _prepare(self, database: Database) -> None:
        from ourvidz.db import restored, schema_objects

        with database.transaction() as connection:
            there, standing = schema_objects.found(connection), schema_objects.standing(connection)
            served = standing is not schema_objects.Standing.NEWER or schema_objects.serves(connection)
            if restored.is_copy(connection):
                raise database.noted(restored.undecided())
        if standing is schema_objects.Standing.OLDER:
            self._bring_up(database, there)
        elif standing is schema_objects.Standing.NEWER:
            if not served:
                have, ours = _numbers(there)
                raise NotServed(f"The database has release {have}, which no longer serves this program, {ours}: install the newer program.")
            log.info("The database has release %s, which serves this program, %s, too.", *_numbers(there))
        if self.embedded:
            make_local_profile(database)

    def _bring_up(self, database: Database, there: Release | None) -> None:
        """Migrate the embedded database to this program's release; for another one, raise an error that asks its owner to."""
        if not self.embedded:
            have, need = _numbers(there)
            raise NotMigrated(f"The database has release {have}, this program needs {need}: run `ourvidz migrate`.")
        from ourvidz.db import concurrent_indexes, lock_retry, migrate  # loads alembic, which most commands do not need

        concurrent_indexes.build(database)
        lock_retry.give_way(database, lambda connection: migrate.migrate(connection, lock_timeout=None))

    def _revive(self) -> None:
        from ourvidz.db.embedded import embedded_url

        embedded_url(self.config.home)  # restarts it if its supervisor was killed; cheap if it runs

    @cached_property
    def jobs(self) -> Jobs:
        from ourvidz.db.connection import PATIENCE
        from ourvidz.lifecycle import Jobs
        from ourvidz.safety.lexical import LexicalScreen

        return Jobs(self.database, LexicalScreen(), patience=max(PATIENCE, self.patience))

    @cached_property
    def store(self) -> ArtifactStore:
        if (project := self.config.supabase) is not None:
            from ourvidz.storage.supabase import SupabaseStorage

            return SupabaseStorage(*project, BUCKETS)
        from ourvidz.storage.folder import FolderStore

        return FolderStore(self.config.storage, BUCKETS)

    @cached_property
    def keyring(self) -> Keyring:
        """Keys that sign messages. It holds the environment, because receivers name variables of their own."""
        import os

        from ourvidz.delivery.sending import Keyring

        return Keyring(os.environ, self.config.supabase_url, self.config.secret_key)


def make_local_profile(database: Database) -> None:
    """Create the one verified profile of a single-user database: the embedded one, or where a person asked for it. Prices are shown there
    and held as everywhere, but it never runs out of tokens."""
    sql = """insert into public.profiles (id, age_verified, subscription_status, token_balance) values (%s, true, 'premium', %s)
             on conflict (id) do nothing"""
    database.rows(sql, (LOCAL_USER, LOCAL_TOKENS))
    sql = """select ourvidz.grant_tokens(id, %(full)s - token_balance, 'A person alone with their computer pays nobody.')
             from public.profiles where id = %(user)s and token_balance < %(full)s / 2"""
    database.rows(sql, {"user": LOCAL_USER, "full": LOCAL_TOKENS})


def make_people(database: Database, people: Iterable[tuple[str, bool, int]]) -> None:
    """Create the users of a development stack: (id, age verified, tokens). Existing users keep what they have."""
    for user, verified, tokens in people:
        profile = """insert into public.profiles (id, age_verified, subscription_status, token_balance) values (%s, %s, 'premium', %s)
                     on conflict (id) do nothing"""
        database.rows(profile, (user, verified, tokens))  # before the user, whose sign-up makes one that is not verified
        database.rows("insert into auth.users (id, email) values (%s, %s) on conflict (id) do nothing", (user, f"{user[-4:]}@example.com"))


def _numbers(there: Release | None) -> tuple[str, str]:
    """Format the database's release and this program's for people."""
    from ourvidz.db import schema_objects

    ours = schema_objects.numbered().release
    if there is None or there.number == 0:
        return "(none)" if there is None else "0 (from before releases were numbered)", str(ours)
    return f"{there.number}" + (" of another build" if there.number == ours else ""), str(ours)


def app(*, patience: float = 0.0) -> App:
    return App(config(), patience)
