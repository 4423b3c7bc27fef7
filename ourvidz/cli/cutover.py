"""`ourvidz cutover`: moving a live service here, step by step, and the way back (docs/cutover.md)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from ourvidz.cli import options, out, words
from ourvidz.cli.help import Sections, about

Users = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="UUID", help="Take this user's messages; repeat it. By naming them you say that they are adults."),
]


def add(app: typer.Typer, panel: str) -> None:
    ours = typer.Typer(cls=Sections, rich_markup_mode=None, help="Move a live service here, and back (docs/cutover.md).")
    ours.command("share", **about("ourvidz cutover share --user 6d5c…", "ourvidz cutover share --nobody", "ourvidz cutover share --off"))(
        share
    )
    app.add_typer(ours, name="cutover", rich_help_panel=panel)


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
        intake.share_with(app.database, None if off else [_uuid(user) for user in users or ()])
    found = intake.shared_with(app.database)
    if as_json:
        return out.emit({"sharing": found is not None, "users": sorted(found or ())})
    if found is None:
        print("This machine takes everybody's messages.")
    else:
        print(f"This machine takes the messages of {words.count(len(found), 'user')}, and leaves all others to the older workers.")


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise out.Problem(f"--user: {text[:60]!r} is not a valid UUID.", 2) from None
