"""Logins of executors, the intake, deliverers and analysts: create, list, set limits, and change passwords.

They are members of our roles and of nothing else. Settings of a role apply to that role's own sessions and not to those of its members, so
each login has its own (ourvidz.set_limits).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from ourvidz.db.connection import Database, transaction_of
from ourvidz.db.passwords import set_password
from state.errors import InvalidJob, NotFound
from state.policy import LIMITS

ROLES = {role.removeprefix("ourvidz_"): role for role, limits in LIMITS.items() if limits.connections is not None}
"""Roles that a login may have, by the name that a person uses."""


@dataclass(frozen=True)
class Login:
    name: str
    roles: tuple[str, ...]
    lacks: tuple[str, ...]  # missing limits, in words; empty: it has them all


def found(db: Database) -> list[Login]:
    """Return every login that is a member of a role of ours, whoever created it. Any of our roles may ask."""
    rows = db.rows("select login::text, roles::text[], lacks from ourvidz.unlimited_logins() order by login")
    return [Login(row["login"], tuple(row["roles"]), tuple(row["lacks"])) for row in rows]


def lacking(db: Database, roles: Sequence[str]) -> list[str]:
    """Return those of these roles (keys of ROLES) whose work this session may not do. The owner of our tables may do all of it."""
    sql = """select name from unnest(%s::text[]) as name
             where not (pg_has_role('ourvidz_' || name, 'usage') or pg_has_role('ourvidz_owner', 'usage'))"""
    return [row["name"] for row in db.rows(sql, (list(roles),))]


def add(db: Database, name: str, roles: Sequence[str], lanes: Sequence[str] | None = None) -> str:
    """Create a login as a member of these roles (keys of ROLES), with their limits. `lanes`: those that its executors may serve, None: all.
    Returns its password, which is not stored. Raises InvalidJob; then nothing was created."""
    if unknown := [role for role in roles if role not in ROLES]:
        raise InvalidJob(f"{unknown[0]!r} is not a role that a login may have: {', '.join(ROLES)}.", field="role")
    if not roles:
        raise InvalidJob(f"A login needs a role: {', '.join(ROLES)}.", field="role")
    password = secrets.token_urlsafe(24)
    with db.driver() as connection, transaction_of(connection):
        if connection.execute("select from pg_roles where rolname = %s", (name,)).fetchone() is not None:
            raise InvalidJob(f"There is a role {name} already. Choose another name, or `ourvidz logins password {name}`.", field="name")
        connection.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        set_password(connection, name, password)
        for role in roles:
            connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(ROLES[role]), sql.Identifier(name)))
        connection.execute("select ourvidz.set_limits(%s, true)", (name,))
        _set_lanes(connection, name, lanes)
    return password


def set_lanes(db: Database, name: str, lanes: Sequence[str] | None) -> None:
    """Set the lanes that the login's executors may serve from now on; None: all. Live executors keep theirs until they register again."""
    _known(db, name)
    with db.driver() as connection, transaction_of(connection):
        _set_lanes(connection, name, lanes)


def password(db: Database, name: str) -> str:
    """Set a new password, and end the login's sessions, so that a holder of the old one is out. Returns it; it is not stored."""
    _known(db, name)
    new = secrets.token_urlsafe(24)
    with db.driver() as connection:
        set_password(connection, name, new)
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (name,))
    return new


def drop(db: Database, name: str) -> None:
    """Remove the login and end its sessions. What its executors held goes to others when their leases expire."""
    _known(db, name)
    with db.driver() as connection:
        connection.execute(sql.SQL("alter role {} nologin").format(sql.Identifier(name)))
        connection.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = %s", (name,))
        connection.execute("delete from ourvidz.logins where name = %s", (name,))
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def repair(db: Database, name: str) -> None:
    """Reset the limits of an existing login to those of its roles."""
    _known(db, name)
    db.rows("select ourvidz.set_limits(%s, true)", (name,))


def _known(db: Database, name: str) -> None:
    if all(login.name != name for login in found(db)):
        raise NotFound(f"There is no login {name} of a role of ours. `ourvidz logins ls` lists them.")


def _set_lanes(connection: Connection[Any], name: str, lanes: Sequence[str] | None) -> None:
    connection.execute(
        "insert into ourvidz.logins (name, lanes) values (%s, %s) on conflict (name) do update set lanes = excluded.lanes",
        (name, list(lanes) if lanes is not None else None),
    )
