"""`ourvidz doctor`: one line for each thing that the program depends on, and how to fix what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import about

if TYPE_CHECKING:
    from ourvidz.checks import Line

_LOOK = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "missing": ("✗", "red")}


def add(app: typer.Typer, panel: str) -> None:
    wrong = "ourvidz doctor --json | jq '.[] | select(.state != \"ok\")'"
    app.command("doctor", **about("ourvidz doctor", wrong, panel=panel))(doctor)


def doctor(
    as_json: options.Json = False,
    fix: Annotated[bool, typer.Option("--fix", help="First make private what others on this machine may read or write.")] = False,
) -> None:
    """Check what this program depends on, and say how to fix it, and what a leak of each secret that is set here would cost.

    Exit 1 when something is missing that it cannot do without.
    """
    from ourvidz.cli import doctor_checks

    if fix:
        from ourvidz import file_permissions
        from ourvidz.cli import doctor_secrets
        from ourvidz.config import config

        changed = file_permissions.close(doctor_secrets.exposed(config()))
        out.say(f"Made private: {changed}.")

    lines = list(shown(doctor_checks.lines(), quiet=as_json))
    if as_json:
        out.emit([line.__dict__ for line in lines])
    missing, warned = (sum(line.state == state for line in lines) for state in ("missing", "warn"))
    if missing:
        out.say(f"\n{missing} missing, {warned} to look at.", "red")
        raise typer.Exit(1)
    out.say(f"\nAll that is needed is there{f'; {warned} to look at' if warned else ''}.", "green")


def shown(lines: Iterator[Line], *, quiet: bool) -> Iterator[Line]:
    """Print and yield each line as soon as its check is done: some take a second."""
    for line in lines:
        if not quiet and out.stdout().is_terminal:
            from rich.markup import escape

            mark, style = _LOOK[line.state]
            out.stdout().print(f"[{style}]{mark}[/] {line.what:<12} {escape(line.found)}", soft_wrap=True)
            if line.remedy:
                out.stdout().print(f"  {'':<12} [dim]↳ {escape(line.remedy)}[/]", soft_wrap=True)
        elif not quiet:
            print("\t".join((line.state, line.what, line.found, line.remedy)))
        yield line
