"""The receiver that every project has: its own edge function `job-callback`."""

from __future__ import annotations

from ourvidz.db import outbox
from ourvidz.db.connection import Database

DEFAULT = "job-callback"
SECRET = "CALLBACK_SECRET"


def follow_environment(db: Database, supabase_url: str | None, *, signs: bool) -> str:
    """Make `job-callback` the function of the project that the environment names; what a person chose of it besides stays. Returns words
    for the log, empty when there is nothing to say. Raises `InvalidJob` where the URL is none that a receiver may have."""
    if supabase_url is None or not signs:
        return ""
    url = f"{supabase_url.rstrip('/')}/functions/v1/{DEFAULT}"
    if any(r["name"] == DEFAULT and r["url"] == url for r in outbox.receivers(db)):
        return ""
    if not outbox.may_set_receivers(db):
        return f"{DEFAULT} is not told of jobs at {url}: this role may not change receivers. `ourvidz deliver receivers add` does it."
    outbox.receiver_set(db, DEFAULT, url, secret_env=SECRET)
    return f"{DEFAULT} is told of jobs at {url}."
