"""`ourvidz cutover`: move a live service here step by step, and back (docs/cutover.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from ourvidz.cli import formatting, options, out
from ourvidz.cli.help import Sections, about

if TYPE_CHECKING:
    from ourvidz.db.connection import Database
    from ourvidz.intake.upstash import Upstash

Users = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="UUID", help="Take this user's messages; repeat it. By naming them you say that they are adults."),
]


def add(app: typer.Typer, panel: str) -> None:
    ours = typer.Typer(cls=Sections, rich_markup_mode=None, help="Move a live service here, and back (docs/cutover.md).")
    ours.command("shadow", **about("ourvidz cutover shadow", "ourvidz cutover shadow --since 3d --json"))(shadow)
    ours.command("share", **about("ourvidz cutover share --user 6d5c…", "ourvidz cutover share --nobody", "ourvidz cutover share --off"))(
        share
    )
    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True}
    ours.command("switch", context_settings=passed_on, **about("ourvidz cutover switch", "ourvidz cutover switch --force --yes"))(switch)
    ours.command("watch", **about("ourvidz cutover watch", "ourvidz cutover watch --for 30m"))(watch)
    ours.command("back", **about("ourvidz cutover back", "ourvidz cutover back --force"))(back)
    app.add_typer(ours, name="cutover", rich_help_panel=panel)


def shadow(
    since: Annotated[str, typer.Option("--since", metavar="DURATION", help="Jobs that were asked for so long ago at most.")] = "1d",
    as_json: options.Json = False,
) -> None:
    """Read what waits in the older system, and say what this one would make of it. Nothing is taken, changed or made.

    DATABASE_URL is the service's database, read in a read-only transaction; Redis is read where it is configured. What would become of
    each request is decided here, in a database that is made for it and thrown away.
    """
    from ourvidz.cutover import shadow as it

    found = it.look(
        _service_database(), _redis_or_none(), options.seconds(since, "--since") or 86400.0, say=lambda line: out.say(line, "dim")
    )
    if as_json:
        return out.emit(found.as_dict())
    rows = (
        [out.cell(source), out.cell(kind), out.number(g.waiting), out.number(g.made), out.number(g.price), out.number(g.refused)]
        for (source, kind), g in found.groups().items()
    )
    out.table(
        ["from", "job type", "waiting", "would be made", "tokens", "refused"], rows, right=("waiting", "would be made", "tokens", "refused")
    )
    for name, count in found.set_aside().items():
        print(f"set aside: {name} ({formatting.count(count, 'job')})")
    for (code, field), (count, why) in found.refusals().items():
        print(f"refused: {formatting.count(count, 'job')}, {code}{f' {field}' if field else ''}: {why}")
    if found.joined:
        print(f"{formatting.count(found.joined, 'message')} of a job that is in the database already: one job each")
    if found.users:
        print(f"{formatting.count(found.users, 'user')}: what they ask for waits until an operator has verified their age")
    if not found.plans:
        print("Nothing waits.")


def share(
    users: Users = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="Take no more messages; finish what was taken.")] = False,
    off: Annotated[
        bool, typer.Option("--off", help="Take everybody's messages again: for when there is no older worker any more.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Work beside the older workers on one Redis, for a few users, with a database of this machine's own.

    The intake takes these users' messages and leaves all others, and those with reference pictures, to the older workers. Results go to the
    older job-callback, as an older worker's do: the service's own database is not touched.
    """
    from ourvidz import bootstrap
    from ourvidz.db import intake

    if sum((bool(users), nobody, off)) > 1:
        raise out.Problem("Choose one of --user, --nobody and --off.", 2)
    app = bootstrap.app()
    if (users or nobody) and not app.embedded:
        raise out.Problem(
            "Sharing needs a database of this machine's own: unset DATABASE_URL. The service's database is not to know of these jobs "
            "but by its own callback.", 2
        )  # fmt: skip
    if users or nobody or off:
        intake.intake_limit_users(app.database, None if off else [_uuid(user) for user in users or ()])
    found = intake.intake_users(app.database)
    if as_json:
        return out.emit({"sharing": found is not None, "users": sorted(found or ())})
    if found is None:
        print("This machine takes everybody's messages.")
    else:
        print(f"This machine takes the messages of {formatting.count(len(found), 'user')}, and leaves all others to the older workers.")


def switch(
    context: typer.Context,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Though older workers may be at some jobs: these are made here again, whatever becomes of them there."
        ),
    ] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Bring the service's database here: what `ourvidz migrate` does, and what is needed to return.

    Stop the older workers first. Options after `--` are those of `ourvidz migrate`, and so is what --json prints.
    """
    from ourvidz.cli.main import app
    from ourvidz.db import legacy, table_definitions

    database = _service_database()
    there = _ids_in_redis()
    waiting, held = legacy.waiting(database, there)
    say: Callable[[str], object] = out.say if as_json else print
    say(f"{formatting.count(waiting, 'job')} waiting; {formatting.count(len(there), 'message')} in Redis.")
    if held and not force:
        raise out.Problem(
            f"{formatting.count(len(held), 'job')} waiting without a message: older workers are at them, or lost them ({held[0]} …). "
            "Stop those workers, let them finish, and try again; --force makes these jobs here."
        )  # fmt: skip
    out.confirm("The older system's tables are brought to this program's shape.", yes=yes)
    with database.transaction() as connection:
        parts = table_definitions.keep(connection)
    say(f"The shape of the database is kept ({parts} parts): `ourvidz cutover back` returns to it, within a day.")
    app(["migrate", *context.args, *(["--json"] if as_json else [])], standalone_mode=False)
    say("Now: ourvidz buckets sync; supabase functions deploy; ourvidz up; ourvidz cutover watch.")


def watch(
    during: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="Look every ten seconds for so long: 30m, 2h.")] = None,
    as_json: options.Json = False,
) -> None:
    """Say what has become of the service since the switch. Exit 1 when something is wrong."""
    import time

    from ourvidz import bootstrap
    from ourvidz.cli.doctor import shown
    from ourvidz.cutover.watch import lines

    until = time.monotonic() + (options.seconds(during, "--for") or 0)
    while True:
        found = list(lines(bootstrap.app().database, _redis_or_none()))
        list(shown(iter(found), quiet=as_json))
        if time.monotonic() >= until:
            break
        time.sleep(10)
        print()
    if as_json:
        out.emit([line.__dict__ for line in found])
    if any(line.state == "missing" for line in found):
        raise typer.Exit(1)


def back(
    force: Annotated[bool, typer.Option("--force", help="Though the switch was over a day ago.")] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Return to the older system: its tables, checks, policies and functions as they were, with the jobs made meanwhile in its shape.

    Stop `ourvidz up` first. Unfinished jobs become messages for the older workers. This program's tables stay, in a schema of another name.
    """
    from ourvidz.db.switch_back import back as go_back
    from ourvidz.intake.hand_back import give_back

    database, redis = _service_database(), _redis_or_none()
    if redis is None:
        raise out.Problem("Which Redis? Set UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN: unfinished jobs go back by it.", 2)
    out.confirm("The older system's tables take the place of this program's.", yes=yes)
    with database.transaction() as connection:
        done = go_back(connection, late=force)
    pushed = give_back(redis, done.waiting)
    if as_json:
        return out.emit({"jobs": done.jobs, "pushed": pushed, "schema": done.schema})
    print(f"Into the older jobs table: {', '.join(f'{n} {word}' for word, n in sorted(done.jobs.items())) or 'none'}.")
    print(f"{formatting.count(pushed, 'message')} pushed for the older workers.")
    print(f"This program's tables and events are kept in schema {done.schema}.")
    print("Now: deploy the older functions, and start the older workers.")


def _ids_in_redis() -> set[str]:
    from ourvidz.intake.hand_back import ids

    redis = _redis_or_none()
    return ids(redis) if redis else set()


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise out.Problem(f"--user: {text[:60]!r} is not a valid UUID.", 2) from None


def _service_database() -> Database:
    from ourvidz.config import config
    from ourvidz.db.connection import Database

    url = config().database_url
    if url is None:
        raise out.Problem("Which service? Set DATABASE_URL to its database.", 2)
    return Database(url.get_secret_value())


def _redis_or_none() -> Upstash | None:
    from ourvidz.config import config
    from ourvidz.intake.upstash import Upstash

    found = config().upstash
    return None if found is None else Upstash(*found)
