"""Checks of `ourvidz doctor` on the services beside the database: storage, proxies, Redis, callback receivers, pages and reports."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ourvidz import project_keys
from ourvidz.checks import Line
from ourvidz.cli import formatting

if TYPE_CHECKING:
    from ourvidz.bootstrap import App
    from ourvidz.config import Config
    from ourvidz.db.connection import Database

FREE = 5e9  # bytes of free disk space, below which it warns
QUICK = 5.0  # seconds for Redis to answer


def storage(app: App) -> Iterator[Line]:
    if app.config.supabase is not None:
        yield from _buckets(app)
        return
    if app.config.supabase_url:
        remedy = f"With {project_keys.SECRET} too ({project_keys.WHERE}), files go into the project's buckets."
        yield Line("warn", "storage", "SUPABASE_URL is set without a secret key: a folder stands for the buckets", remedy)
    yield _folder(app)


def _buckets(app: App) -> Iterator[Line]:
    """Compare the project's buckets, as Storage lists them, with the catalog's."""
    from ourvidz.storage.buckets import compare
    from ourvidz.storage.supabase import SupabaseStorage
    from state.catalog import BUCKETS

    store = app.store
    assert isinstance(store, SupabaseStorage)
    yield _secret(app.config)
    yield from _publishable(app.config)
    before = time.monotonic()
    rows = compare(store.api, BUCKETS)
    yield Line("ok", "storage", f"Supabase Storage of {app.config.supabase_url}, answers in {(time.monotonic() - before) * 1000:.0f} ms")
    wrong = {
        said: [row.name for row in rows if row.state == state]
        for state, said in (("missing", "missing"), ("differs", "with another limit, type or access"))
    }
    told = "; ".join(f"{said}: {', '.join(names)}" for said, names in wrong.items() if names)
    if told:
        yield Line("missing" if wrong["missing"] else "warn", "buckets", told, "`ourvidz buckets sync` creates and updates them.")
    else:
        yield Line("ok", "buckets", f"all {len(BUCKETS)}, with their limits and types")


def _secret(config: Config) -> Line:
    """Report which key is used. The Storage request that follows shows if it is valid."""
    if config.supabase_secret_key is None:
        said = "the legacy service key; Supabase retires it at the end of 2026, and one click in the dashboard disables it before"
        return Line("warn", "keys", said, f"Create a secret key ({project_keys.WHERE}) and set it as {project_keys.SECRET}.")
    beside = " (the legacy one is set too, and not used)" if config.supabase_service_key is not None else ""
    return Line("ok", "keys", f"a secret key{beside}")


def _publishable(config: Config) -> Iterator[Line]:
    """Check that the gateway accepts the front end's key, if it is set here."""
    from ourvidz.outbound import clients

    key = config.publishable_key
    if key is None:
        return
    with clients.client(headers=project_keys.headers(key), timeout=QUICK) as http:
        answer = http.get(f"{config.supabase_url}/rest/v1/jobs?select=id&limit=1")
    said = " ".join(answer.text.split())[:200]
    if project_keys.is_disabled(said):
        remedy = "Create a publishable key (Settings → API Keys), set it as SUPABASE_PUBLISHABLE_KEY, and give it to the front end."
        yield Line("missing", "keys", "the legacy anon key is disabled, as both legacy keys are together", remedy)
    elif "Invalid API key" in said:
        yield Line("missing", "keys", "the publishable key is not one of this project", "Copy it again (Settings → API Keys).")
    else:
        yield Line("ok", "keys", f"a {'publishable' if project_keys.is_new(key) else 'legacy anon'} key, which the project takes")


def _folder(app: App) -> Line:
    folder = app.config.storage
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        remedy = "Give this account the right to, or set OURVIDZ_STORAGE (or OURVIDZ_HOME) elsewhere."
        return Line("missing", "storage", f"{nearest} cannot be written to", remedy)
    free = shutil.disk_usage(nearest).free
    remedy = "A video takes a few megabytes, and the spool up to 10 GB: make room, or set OURVIDZ_STORAGE to another disk."
    made = "" if folder.exists() else " (made when first needed)"
    few = free < FREE
    return Line("warn" if few else "ok", "storage", f"{folder}{made}, {formatting.size(free)} free", remedy if few else "")


def redis(app: App) -> Iterator[Line]:
    """Check Upstash if it is configured. It is optional: jobs have other ways in."""
    import httpx

    from ourvidz.intake import dead_letters
    from ourvidz.intake.message import QUEUES
    from ourvidz.intake.upstash import QuotaSpent, RedisAway, RedisRefused, Upstash

    if app.config.upstash is None:
        if app.config.upstash_redis_rest_url or app.config.upstash_redis_rest_token:
            remedy = "Set UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN, both."
            yield Line("warn", "redis", "half of what reaches Upstash is set: nothing drains it", remedy)
        return
    asked = Upstash(*app.config.upstash, timeout=httpx.Timeout(QUICK))
    try:
        before = time.monotonic()
        lengths = asked.pipeline([("LLEN", key) for queue in QUEUES for key in (queue, dead_letters.key(queue))])
    except QuotaSpent as error:
        yield Line("missing", "redis", str(error), "The intake waits and goes on by itself; jobs come by the other ways meanwhile.")
        return
    except (RedisAway, RedisRefused) as error:
        yield Line("missing", "redis", str(error), "See Upstash's console, and UPSTASH_REDIS_REST_URL and its token.")
        return
    finally:
        asked.close()
    waiting, refused = (sum(int(n) for n in lengths[part::2]) for part in (0, 1))
    found = f"answers in {(time.monotonic() - before) * 1000:.0f} ms; {formatting.count(waiting, 'message')} waiting, {refused} refused"
    yield Line("warn" if refused else "ok", "redis", found, "`ourvidz intake dead ls` says why." if refused else "")


def troubles(config: Config) -> Iterator[Line]:
    """List what the processes of this machine report that they are waiting for."""
    from ourvidz.waiting_reports import Troubles

    for trouble in Troubles(config.home).now():
        waited = formatting.duration(time.time() - trouble.since)
        yield Line("warn", "waiting", f"{trouble.part}, for {waited}: {trouble.said}", "It tries again by itself, without end.")


def proxies() -> Iterator[Line]:
    """Report the proxies set in the environment. An invalid value is a finding (`BadProxy`)."""
    from ourvidz.outbound.proxies import rule

    found = rule()
    if found.proxies:
        direct = f"; {formatting.count(len(found.exempt), 'entry', 'entries')} in NO_PROXY" if found.exempt else ""
        yield Line("ok", "proxies", ", ".join(proxy.shown for proxy in found.proxies.values()) + direct)


def page(database: Database) -> Iterator[Line]:
    """Check that browsers show the page for age and attestation, which refusals link to."""
    from ourvidz.cli import age
    from ourvidz.db import ages

    url = ages.help_url(database)
    if url is not None:
        state, said = age.look(url)
        yield Line("ok", "page", url) if state == "ok" else Line("warn", "page", f"{url}: refusals link to it", said)


def callbacks(config: Config, database: Database) -> Iterator[Line]:
    """Check the callback receivers. Having none is fine."""
    from ourvidz.db import outbox
    from ourvidz.delivery.receivers import DEFAULT, SECRET
    from ourvidz.delivery.signature import BadSecret, keys

    rows = outbox.receivers(database)
    if shut := [row["name"] for row in rows if not row["enabled"]]:
        remedy = "`ourvidz deliver receivers enable NAME` opens one; `ourvidz deliver ls --dead` shows what it missed."
        yield Line("warn", "callbacks", f"disabled: {', '.join(shut)}", remedy)
    if heard := [f"{row['name']} ({formatting.count(row['waiting'], 'message')} waiting)" for row in rows if row["enabled"]]:
        yield Line("ok", "callbacks", ", ".join(heard))
    if config.callback_secret is not None:
        try:
            keys(config.callback_secret.get_secret_value())
        except BadSecret as error:
            yield Line("missing", "callbacks", f"{SECRET}: {error}", "Set it again, here and in the edge functions' secrets.")
    if config.supabase_url and config.callback_secret is None:
        yield Line("warn", "callbacks", f"{SECRET} is not set here: {DEFAULT} is told of nothing by this machine", f"Set {SECRET}.")


def removals(database: Database) -> Iterator[Line]:
    """Count objects that users deleted and that are still there after three tries."""
    sql = "select count(*) as n, min(asked_at)::date as since from ourvidz.removals where tries >= 3"
    (row,) = database.rows(sql)
    if row["n"]:
        remedy = "Users deleted these. See what `ourvidz deliver run` says of the store, and whether it has the service key."
        yield Line("warn", "removals", f"{formatting.count(row['n'], 'object')} not deleted after 3 tries, since {row['since']}", remedy)


def reports(database: Database) -> Iterator[Line]:
    """Count reports past their deadline, and files of taken-down outputs that signed URLs still reach."""
    from ourvidz.db import moderation

    if late := moderation.overdue(database):
        yield Line(
            "missing", "reports", f"{formatting.count(late, 'report')} not decided within its time", "`ourvidz reports ls` lists them."
        )
    if left := moderation.unmoved(database):
        remedy = "See what `ourvidz deliver run` says of the store. Does it have the bucket `quarantine` (`ourvidz buckets sync`)?"
        yield Line(
            "missing", "reports", f"{formatting.count(left, 'file')} of hidden outputs could not be moved away after three tries", remedy
        )
