"""Output of the commands. Data goes to stdout: a table on a terminal, tab-separated lines into a pipe, JSON with --json. All else goes to
stderr. rich honours NO_COLOR and a dumb terminal by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from ourvidz.cli import formatting
from ourvidz.cli.terminal import unicode_stream

if TYPE_CHECKING:
    from rich.console import Console

STATUS_STYLE: Mapping[str, str] = {
    "queued": "cyan",
    "enhancing": "blue",
    "generating": "blue",
    "uploading": "blue",
    "completed": "green",
    "failed": "red",
    "cancelled": "dim",
}
MARK: Mapping[str, str] = {"completed": "✓", "failed": "✗", "cancelled": "–"}


class Problem(Exception):
    """An error message for the user, without a traceback. `code` is the exit code: 2 for a usage error."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@cache
def stdout() -> Console:
    from ourvidz.cli.console import SafeConsole

    return SafeConsole(highlight=False, soft_wrap=not sys.stdout.isatty())


@cache
def stderr() -> Console:
    from ourvidz.cli.console import SafeConsole

    return SafeConsole(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(message: str, style: str = "") -> None:
    """Print a message on stderr, apart from the data."""
    stderr().print(message, style=style, markup=False, soft_wrap=True)


def confirm(question: str, *, yes: bool, flag: str = "--yes") -> None:
    """Ask for confirmation, unless `yes`. Raises `Problem` on any answer but yes, or without a terminal."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Problem(f"{question} Nothing was done: add {flag} to go ahead without being asked.", 2)
    stderr().print(f"{question} [dim](y/N)[/] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Problem("Nothing was done.")


def read_stdin() -> str:
    """Read all of stdin. Raises `Problem` if it is not text in the encoding that Python assumes for this terminal or pipe."""
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise Problem(f"What came on stdin is not text in {sys.stdin.encoding}. Set PYTHONUTF8=1 if it is UTF-8.", 2) from None


def emit(value: Any) -> None:
    """Print one JSON value on stdout."""
    import json

    ascii_only = not unicode_stream(sys.stdout)  # JSON's escapes are lossless
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None, default=plain, ensure_ascii=ascii_only))


def plain(value: Any) -> Any:
    """Convert a value that JSON has no type for: datetimes to UTC, durations to seconds, bytes to hex, the rest to text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if hasattr(value, "total_seconds"):
        return round(value.total_seconds(), 6)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value)


@dataclass(frozen=True)
class Cell:
    """`shown` on a terminal, `raw` into a pipe."""

    shown: str
    raw: str = ""
    style: str = ""


def cell(value: Any, style: str = "") -> Cell:
    text = "" if value is None else str(value)
    return Cell(text, text, style)


def job_id(value: Any) -> Cell:
    return Cell(str(value)[:8], str(value))


def status(value: str, note: str = "") -> Cell:
    mark = MARK.get(value, "•")
    return Cell(f"{mark} {value}{note and ' ' + note}", value, STATUS_STYLE.get(value, ""))


def since(value: datetime | None, now: datetime, style: str = "dim") -> Cell:
    return Cell(formatting.ago(value, now), plain(value), style) if value else Cell("")


def lasted(seconds: float | None, style: str = "") -> Cell:
    return Cell("", "") if seconds is None else Cell(formatting.duration(seconds), f"{seconds:.3f}", style)


def number(value: int | None, style: str = "") -> Cell:
    return Cell("") if value is None else Cell(f"{value:,}", str(value), style)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, right: Sequence[str] = (), folds: Sequence[str] = (), indent: int = 0
) -> None:
    """Print aligned columns under headings on a terminal; tab-separated raw values without headings into a pipe. On a narrow terminal
    the last column and those in `folds` wrap; others are cut."""
    console = stdout()
    if not console.is_terminal:
        for row in rows:
            print("\t".join(" ".join((c.raw or c.shown).split()) for c in row))
        return
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=bool(columns))
    for place, name in enumerate(columns, 1):
        grid.add_column(
            name, justify="right" if name in right else "left", no_wrap=place < len(columns) and name not in folds, overflow="fold"
        )
    for row in rows:
        grid.add_row(*(Text(c.shown, style=c.style) for c in row))
    console.print(Padding(grid, (0, 0, 0, indent)))


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Print one name and value a line, values wrapped beside their names; into a pipe, `name<TAB>value`."""
    console = stdout()
    given = [(name, value) for name, value in pairs if value]
    if not console.is_terminal:
        for name, value in given:
            print(f"{name}\t{' '.join(value.split())}")
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=10)
    grid.add_column(overflow="fold")
    for name, value in given:
        grid.add_row(f"  {name}", Text(value))
    console.print(grid)


def heading(text: str) -> None:
    """Print a section's name; nothing into a pipe."""
    if stdout().is_terminal:
        stdout().print(f"\n{text}", style="bold", markup=False)
