"""`ourvidz consent ls | uses`: attested pictures, and the outputs made from one."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ourvidz.cli import options, out, resolve
from ourvidz.cli.help import Sections, about

User = Annotated[str | None, typer.Option("--user", metavar="USER", help="Only this user's pictures.")]
WHY = {
    "withdrawn": "no: a consent was withdrawn",
    "too_deep": "no: made from too many others",
    "unattested": "no: not attested",
}


def add(app: typer.Typer, panel: str) -> None:
    consent = typer.Typer(cls=Sections, rich_markup_mode=None, help="Attested pictures, and what was made from each.")
    consent.command("ls", **about("ourvidz consent ls --withdrawn", "ourvidz consent ls --user 3f0c1a52-… --json"))(listed)
    consent.command("uses", **about("ourvidz consent uses 9b74c989…", "ourvidz consent uses 9b74c989… --json"))(uses)
    app.add_typer(consent, name="consent", rich_help_panel=panel)


def listed(
    user: User = None,
    withdrawn: Annotated[bool, typer.Option("--withdrawn", help="Only those whose attestation was withdrawn.")] = False,
    as_json: options.Json = False,
) -> None:
    """List attested pictures by the SHA-256 of their bytes, the newest first, at most 1,000."""
    from ourvidz import bootstrap
    from ourvidz.db import safety

    rows = safety.consents(bootstrap.app().database, user_id=resolve.a_uuid(user, "--user"), withdrawn=withdrawn)
    if as_json:
        return out.emit([{name: value for name, value in row.items() if name != "now"} for row in rows])
    out.table(
        ("sha256", "user", "statement", "attested", "withdrawn", "jobs"),
        ([out.cell(row["sha256"]), out.cell(str(row["user_id"])), out.cell(row["statement_version"]),
          out.since(row["attested_at"], row["now"]), out.since(row["withdrawn_at"], row["now"]), out.number(row["jobs"])] for row in rows),
        right=("jobs",),
    )  # fmt: skip
    if not rows:
        out.say("There is no such picture.", "dim")


def uses(
    sha256: Annotated[str, typer.Argument(metavar="SHA256", help="Of the picture's file, 64 hex digits.", show_default=False)],
    user: User = None,
    as_json: options.Json = False,
) -> None:
    """List what was made from a picture, directly or from an output of it, and whether each may still be used as a reference.

    Outputs of jobs from before references were recorded (release 0.1.0) are not listed. They are refused as references once any
    attestation of their owner that they may come from is withdrawn.
    """
    from ourvidz import bootstrap
    from ourvidz.db import safety

    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise out.Problem("A SHA-256 has 64 hexadecimal digits in lower case.", 2)
    rows = safety.made_from(bootstrap.app().database, sha256, resolve.a_uuid(user, "--user"))
    if as_json:
        return out.emit(rows)
    out.table(
        ("output", "kind", "job", "user", "may be used"),
        [[out.cell(f"{row['bucket']}/{row['path']}"), out.cell(row["kind"]), out.cell(str(row["job_id"])), out.cell(str(row["user_id"])),
          out.cell(WHY[row["why"]] if row["why"] else "yes")] for row in rows],
    )  # fmt: skip
    if not rows:
        out.say("Nothing was made from it.", "dim")
