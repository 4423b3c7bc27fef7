"""`ourvidz deliver receivers ls | add | enable | disable | test`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ourvidz.cli import options, out, resolve
from ourvidz.cli.help import about

Name = Annotated[str, typer.Argument(metavar="NAME", help="A receiver's name.", show_default=False)]


def add(app: typer.Typer) -> None:
    app.command("ls", **about("ourvidz deliver receivers ls"))(ls)
    app.command("add", **about("ourvidz deliver receivers add billing https://example.com/hook --field job_type --field user_id",
                               "ourvidz deliver receivers add job-callback --processing"))(put)  # fmt: skip
    app.command("enable", **about("ourvidz deliver receivers enable billing"))(enable)
    app.command("disable", **about("ourvidz deliver receivers disable billing"))(disable)
    app.command("test", **about("ourvidz deliver receivers test billing"))(test)


def ls(as_json: options.Json = False) -> None:
    """List who is told of jobs, and who was disabled, and why."""
    from ourvidz import bootstrap
    from ourvidz.db import outbox

    rows = outbox.receivers(bootstrap.app().database)
    if as_json:
        return out.emit([{k: v for k, v in row.items() if k != "now"} for row in rows])
    if not rows:
        return out.say("Nobody is told of jobs. `ourvidz deliver receivers add NAME URL` adds a receiver.", "dim")
    out.table(("name", "state", "waiting", "dead", "hears of", "secret", "url"), [_line(row) for row in rows], right=("waiting", "dead"))
    for row in rows:
        if not row["enabled"]:
            out.say(
                f"{row['name']} is disabled: {row['disabled_reason']}. `ourvidz deliver receivers enable {row['name']}` opens it.", "yellow"
            )


def _line(row: dict[str, Any]) -> list[out.Cell]:
    return [
        out.cell(row["name"]),
        out.cell("enabled", "green") if row["enabled"] else out.cell("disabled", "red"),
        out.number(row["waiting"]),
        out.number(row["dead"]),
        out.cell(" ".join(row["events"])),
        out.cell(row["secret_env"], "dim"),
        out.cell(row["url"], "dim"),
    ]


def put(
    name: Name,
    url: Annotated[str | None, typer.Argument(metavar="[URL]", help="Where; needed for a new one.", show_default=False)] = None,
    secret_env: Annotated[
        str | None, typer.Option("--secret-env", metavar="NAME", help="The environment variable with its secret; else NAME_SECRET.")
    ] = None,
    processing: Annotated[
        bool | None, typer.Option("--processing/--no-processing", help="Tell it of the start of each attempt too, or not.")
    ] = None,
    fields: Annotated[
        list[str] | None, typer.Option("--field", metavar="FIELD", help="Tell it this field, and those of other --field, and no others.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Add a receiver, or change one.

    It hears of jobs that completed, failed or were cancelled from now on: the job's id and status, and the fields it is registered for (all
    but text, unless you name them). Prompts and messages of errors go to the project's own job-callback alone. The secret itself is not
    kept: it must be in the environment of `ourvidz deliver run`, at least 24 bytes, and no other receiver's. Several with spaces between
    them all sign, for a rotation.
    """
    from ourvidz import bootstrap
    from ourvidz.db import outbox

    ends = ["completed", "failed", "cancelled"]
    events = None if processing is None else ["processing", *ends] if processing else ends
    db = bootstrap.app().database
    outbox.receiver_set(db, name, url, events, secret_env, fields)
    _tell(db, name, as_json)


def enable(name: Name, as_json: options.Json = False) -> None:
    """Open a receiver again: what waits for it is sent."""
    from ourvidz import bootstrap
    from ourvidz.db import outbox

    db = bootstrap.app().database
    outbox.receiver_enable(db, name, on=True)
    _tell(db, name, as_json)


def disable(name: Name, as_json: options.Json = False) -> None:
    """Close a receiver: what waits for it waits on, and it misses what happens then."""
    from ourvidz import bootstrap
    from ourvidz.db import outbox

    db = bootstrap.app().database
    outbox.receiver_enable(db, name, on=False, reason=f"by {resolve.actor()}")
    _tell(db, name, as_json)


def test(name: Name, as_json: options.Json = False) -> None:
    """Send a receiver one message about no job, now; exit 1 when it does not take it."""
    import asyncio
    from uuid import UUID, uuid4

    from ourvidz import bootstrap
    from ourvidz.db import outbox, queries
    from ourvidz.delivery.sending import send
    from ourvidz.outbound import clients

    app = bootstrap.app()
    row = _row(app.database, name)
    if not app.keyring.keys(row["secret_env"]):
        raise out.Problem(f"{row['secret_env']}, which signs messages for {name}, is not set.", 2)
    body = {"job_id": str(UUID(int=0)), "status": "processing", "assets": [], "metadata": {"test": True}}
    message = outbox.Message(str(uuid4()), 0, row["url"], row["secret_env"], queries.now(app.database), body)

    async def once() -> Any:
        async with clients.async_client() as client:
            return await send(client, message, app.keyring)

    outcome = asyncio.run(once())
    if as_json:
        out.emit({"receiver": name, "status": outcome.status, "error": outcome.error})
    else:
        out.say(f"{name}: {outcome.error or f'it answered {outcome.status}'}.", "red" if outcome.error else "green")
    if outcome.error:
        raise typer.Exit(1)


def _row(db: Any, name: str) -> dict[str, Any]:
    from ourvidz.db import outbox

    found = [r for r in outbox.receivers(db) if r["name"] == name]
    if not found:
        raise out.Problem(f"There is no receiver {name[:40]!r}. `ourvidz deliver receivers ls` lists them.")
    return found[0]


def _tell(db: Any, name: str, as_json: bool) -> None:
    row = {k: v for k, v in _row(db, name).items() if k != "now"}
    if as_json:
        return out.emit(row)
    state = "enabled" if row["enabled"] else "disabled"
    out.say(f"{name} is {state}, and hears of {', '.join(row['events'])} at {row['url']}, signed with {row['secret_env']}.", "green")
    out.say(f"Besides the job's id and status it is told: {', '.join(row['fields']) or 'nothing'}.", "dim")
