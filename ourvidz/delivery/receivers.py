"""The default receiver of every project: its own edge function `job-callback`."""

from __future__ import annotations

from ourvidz.db import outbox
from ourvidz.db.connection import Database

DEFAULT = "job-callback"
SECRET = "CALLBACK_SECRET"


def follow_environment(db: Database, supabase_url: str | None, *, signs: bool) -> str:
    """Point the receiver `job-callback` at the project in the environment; its other settings stay. Returns a line for the log, or an
    empty one. Raises `InvalidJob` if a receiver may not have the URL."""
    if supabase_url is None or not signs:
        return ""
    url = f"{supabase_url.rstrip('/')}/functions/v1/{DEFAULT}"
    if any(r["name"] == DEFAULT and r["url"] == url for r in outbox.receivers(db)):
        return ""
    if not outbox.may_set_receivers(db):
        return f"{DEFAULT} is not told of jobs at {url}: this role may not change receivers. `ourvidz deliver receivers add` does it."
    outbox.receiver_set(db, DEFAULT, url, secret_env=SECRET)
    return f"{DEFAULT} is told of jobs at {url}."
