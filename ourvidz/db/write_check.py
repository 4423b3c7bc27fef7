"""Check if a server accepts writes; if not, give the cause and the remedy for `ourvidz doctor` and `ourvidz top`."""

from __future__ import annotations

from dataclasses import dataclass

from ourvidz.db.connection import Database


@dataclass(frozen=True)
class Writes:
    """`why` and `remedy` are empty if it accepts them."""

    why: str = ""
    remedy: str = ""

    @property
    def taken(self) -> bool:
        return not self.why


_WAITING = "Everything waits meanwhile and goes on by itself."
_FULL = "Where the disk was full, make room first (Supabase sets it then)."

# pg_settings.source of default_transaction_read_only → who set it, and the statement that resets it.
_SET_BY = {
    "database": ("for this database", "alter database {database} reset default_transaction_read_only"),
    "user": ("for this login", "alter role {login} reset default_transaction_read_only"),
    "database user": (
        "for this login in this database",
        "alter role {login} in database {database} reset default_transaction_read_only",
    ),
    "client": ("by DATABASE_URL or PGOPTIONS", ""),
}
_SERVER = ("for the whole server", "alter system reset default_transaction_read_only; select pg_reload_conf()")


def look(db: Database) -> Writes:
    sql = """select pg_is_in_recovery() as standby, current_setting('transaction_read_only')::boolean as read_only,
                    (select source from pg_settings where name = 'default_transaction_read_only') as source,
                    quote_ident(current_database()) as database, quote_ident(session_user) as login"""
    (seen,) = db.rows(sql)
    if seen["standby"]:
        remedy = f"Name the primary in DATABASE_URL, or all of its servers (host1,host2): the one that takes writes is found. {_WAITING}"
        return Writes("it is a standby, a copy that follows a primary", remedy)
    if not seen["read_only"]:
        return Writes()
    for_whom, undo = _SET_BY.get(seen["source"], _SERVER)
    undo = f"as a role that may, run `{undo.format(**seen)}`" if undo else "take it out there"
    return Writes(f"default_transaction_read_only is on {for_whom}", f"{_FULL} Then {undo}. {_WAITING}")
