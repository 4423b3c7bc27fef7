"""Checks of `ourvidz doctor` beyond the schema: roles, grants, realtime, policies. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

from ourvidz.checks import Line
from ourvidz.db import schema_files
from ourvidz.db.connection import Database

_MIGRATE = "`ourvidz migrate` fixes it, run as a role that may."


def look(db: Database, *, hosted: bool) -> Iterator[Line]:
    """`hosted`: a PostgREST that is not ours to configure reads its settings from this database."""
    (seen,) = db.rows(
        (resources.files("ourvidz.db") / "sql" / "queries" / "surroundings.sql").read_text(encoding="utf-8"),
        {"roles": list(schema_files.ROLES)},
    )
    yield _list("roles", seen["roles_missing"], f"all {len(schema_files.ROLES)} are there", "not there: {}", _MIGRATE)
    if seen["not_authenticators"]:
        roles = ", ".join(seen["not_authenticators"])
        yield Line(
            "warn", "roles", f"authenticator is no member of {roles}", f"grant {roles} to authenticator; else PostgREST cannot serve."
        )
    yield _list("owner", seen["strangers"], "all of ours belongs to ourvidz_owner", "not ourvidz_owner's: {}", _MIGRATE)
    yield _list("policies", seen["unguarded"], "row-level security on every table of ours", "without row-level security: {}", _MIGRATE)
    if seen["inside_open"]:
        yield Line("missing", "grants", "the API's roles may enter schema ourvidz", _MIGRATE)
    else:
        yield Line("ok", "grants", "the API's roles have nothing in schema ourvidz")
    if seen["open_to_all"]:
        names = ", ".join(seen["open_to_all"])
        remedy = "Not ours, and anybody with the anon key reaches it: enable row level security on it, or revoke its grants."
        yield Line("warn", "grants", f"open to everybody in schema public: {names}", remedy)
    yield _list("realtime", seen["not_realtime"], "jobs and videos are published", "not published: {}", _MIGRATE, state="warn")
    if not seen["signs_up"]:
        remedy = "Make each new user a profile yourself (a trigger on auth.users), or run `ourvidz migrate` as a role that may."
        yield Line("warn", "sign-up", "no trigger of ours on auth.users", remedy)
    if not seen["storage_policed"]:
        remedy = "Run `ourvidz migrate` as a role that may make policies on storage.objects; until then only the service key reaches files."
        yield Line("warn", "storage", "no policy of ours on storage.objects", remedy)
    if hosted and not seen["asks_before"]:
        setting = "alter role authenticator set pgrst.db_pre_request = 'public.before_request'"
        remedy = f"Run `{setting}` as a role that may; until then admins see their own rows alone."
        yield Line("warn", "admin", "PostgREST is not told to ask public.before_request", remedy)
    yield Line("ok", "extensions", "none needed: gen_random_uuid() and sha256() are Postgres's own")


def _list(what: str, wrong: list[str], well: str, ill: str, remedy: str, *, state: str = "missing") -> Line:
    return Line(state, what, ill.format(", ".join(wrong)), remedy) if wrong else Line("ok", what, well)
