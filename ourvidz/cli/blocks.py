"""`ourvidz blocks`: hashes of refused pictures, and imported lists of such hashes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ourvidz.cli import formatting, options, out, resolve
from ourvidz.cli.help import Sections, about

_KINDS = ("sha256", "pdq")
AT_ONCE = 5_000


def add(app: typer.Typer, panel: str) -> None:
    group = typer.Typer(cls=Sections, rich_markup_mode=None, help="Hashes of pictures that are refused.")
    group.command("import", **about("ourvidz blocks import list.csv --source stopncii", "ourvidz blocks import list.csv --dry-run"))(load)
    group.command("ls", **about("ourvidz blocks ls"))(ls)
    group.command("drop", **about("ourvidz blocks drop stopncii"))(drop)
    app.add_typer(group, name="blocks", rich_help_panel=panel)


def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header and a column sha256 or pdq, or both.")],
    source: Annotated[str, typer.Option("--source", metavar="NAME", help="Whose list it is; `drop` takes it away by this name.")] = "list",
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Add a list of hashes, 64 hex digits each. The whole file is read first: one wrong line, and nothing is added."""
    from ourvidz import bootstrap
    from ourvidz.db import moderation

    if not re.fullmatch(r"[A-Za-z0-9._-]{1,80}", source) or source == "takedown":
        raise out.Problem("--source takes up to 80 letters, digits, dots, dashes and underscores, and not `takedown`.", 2)
    found = _read(file)
    added = 0
    if not dry_run:
        db = bootstrap.app().database
        for kind, hashes in found.items():
            for n in range(0, len(hashes), AT_ONCE):
                some = {kind: hashes[n : n + AT_ONCE]}
                added += moderation.block(db, some.get("sha256", ()), some.get("pdq", ()), source, resolve.actor())
    told = {name: len(hashes) for name, hashes in found.items()} | {"added": added}
    if as_json:
        return out.emit(told)
    out.say(f"{formatting.count(sum(map(len, found.values())), 'hash', 'hashes')} read, {added:,} added.", "dim" if dry_run else "green")


def _read(file: Path) -> dict[str, list[str]]:
    import csv

    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            columns = [name for name in _KINDS if name in (rows.fieldnames or ())]
            if not columns:
                raise out.Problem(f"{file} has no column sha256 or pdq in its first line.", 2)
            found: dict[str, list[str]] = {name: [] for name in columns}
            for row in rows:
                for name in columns:
                    value = (row[name] or "").strip().lower()
                    if value and not re.fullmatch(r"[0-9a-f]{64}", value):
                        raise out.Problem(f"{file}, line {rows.line_num}: {name} must have 64 hex digits. Nothing was added.", 2)
                    found[name] += [value] if value else []
    except (UnicodeDecodeError, csv.Error) as error:
        raise out.Problem(f"{file} is not a CSV file in UTF-8 ({error}).", 2) from None
    return found


def ls(as_json: options.Json = False) -> None:
    """Count the blocked hashes by the list they came from. `takedown`: outputs that were blocked here."""
    from ourvidz import bootstrap
    from ourvidz.db import moderation

    rows = moderation.blocks(bootstrap.app().database)
    if as_json:
        return out.emit(rows)
    out.table(("source", "exact", "perceptual"), [[out.cell(r["source"]), out.number(r["sha256"]), out.number(r["pdq"])] for r in rows],
              right=("exact", "perceptual"))  # fmt: skip


def drop(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A list's name, as `ls` shows it.", show_default=False)],
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Take a whole list away. What was blocked by a takedown is lifted by `reports restore`."""
    from ourvidz import bootstrap
    from ourvidz.db import moderation

    if source == "takedown":
        raise out.Problem("What a takedown blocked is lifted by `ourvidz reports restore`.", 2)
    out.confirm(f"Let through what list {source} blocks?", yes=yes)
    dropped = moderation.unblock(bootstrap.app().database, source, resolve.actor())
    out.emit({"source": source, "dropped": dropped}) if as_json else print(f"{dropped} dropped")
