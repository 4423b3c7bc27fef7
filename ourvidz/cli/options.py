"""Options shared by several commands, with the same name and help text everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from ourvidz.cli import formatting
from ourvidz.cli.out import Problem

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Go ahead without being asked.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id, or its first characters (4 or more).", show_default=False)]
JobIds = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Jobs, by id or its first characters.", show_default=False)]

Status = Annotated[list[str] | None, typer.Option("--status", metavar="STATUS", help="Only these statuses; may be repeated.")]
Type = Annotated[list[str] | None, typer.Option("--type", metavar="JOB_TYPE", help="Only these job types; may be repeated.")]
User = Annotated[str | None, typer.Option("--user", metavar="UUID", help="Only this user's jobs.")]
ErrorClass = Annotated[
    list[str] | None, typer.Option("--error-class", metavar="CLASS", help="Only jobs whose last error was of this class.")
]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Submitted since: 2h, 1d, 2025-07-07.")]
IdleExit = Annotated[
    str | None, typer.Option("--idle-exit", metavar="DURATION", help="Leave when nothing came so long: 90s, 10m, 1h, or bare seconds.")
]


def seconds(text: str | None, option: str) -> float | None:
    """Parse a duration into seconds. Raises `Problem` naming the option."""
    if text is None:
        return None
    try:
        return formatting.parse_duration(text).total_seconds()
    except ValueError as error:
        raise Problem(f"{option}: {error}", 2) from error
