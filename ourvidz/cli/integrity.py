"""`ourvidz audit` verifies the event history, the rows and the token ledger; `ourvidz rebuild` rewrites rows from events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ourvidz.cli import formatting, options, out
from ourvidz.cli.help import about

SHOWN = 50
_REPAIRED = ("row_differs", "row_missing")


def add(app: typer.Typer, panel: str) -> None:
    publishing = "ourvidz audit --publish                     # then keep a copy of heads-ID.jsonl elsewhere"
    losing = "ourvidz audit --accept-loss 'restored to Monday 02:00' --publish   # after a restore to an earlier time"
    app.command("audit", **about("ourvidz audit", publishing, "ourvidz audit --heads /mnt/other/heads-ID.jsonl", losing, panel=panel))(
        audit
    )
    app.command("rebuild", **about("ourvidz rebuild --verify", "ourvidz rebuild --yes", panel=panel))(rebuild)


def audit(
    heads: Annotated[Path | None, typer.Option("--heads", metavar="FILE", help="Where heads are kept outside the database.")] = None,
    publish: Annotated[bool, typer.Option("--publish", help="When all is well, write the heads of today there.")] = False,
    accept: Annotated[
        str | None,
        typer.Option(
            "--accept-loss",
            metavar="REASON",
            help="Write into the heads file that events which it has and the database lacks are lost, and why.",
        ),
    ] = None,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Check that the history is whole, and that the rows follow from it.

    Every job's chain of events is verified, its row compared with their fold, and both with the heads that were published; and the ledger
    of tokens with them (`ourvidz tokens check`). Heads are kept in heads-ID.jsonl under OURVIDZ_HOME, ID being the database's.
    Exit 1 when something is found.
    """
    from ourvidz import bootstrap
    from ourvidz.audit import LOSSES, accept_losses, audit, heads_file, publish_heads
    from ourvidz.cli import tokens
    from ourvidz.db import ledger

    if accept is not None and not accept.strip():
        raise out.Problem("--accept-loss: give the reason, such as 'restored to Monday 02:00'.", 2)
    app = bootstrap.app()
    file = heads or heads_file(app.database, app.config.home)
    if heads is not None and not publish and not heads.is_file():
        raise out.Problem(f"There is no file {heads}. `ourvidz audit --heads {heads} --publish` writes it.", 2)
    known = file if file.is_file() else None
    with _progress("audit") as tell:
        report = audit(app.database, known, on_progress=tell)
    if accept is not None and (lost := [f for f in report.findings if f.kind in LOSSES]):
        out.confirm(f"Accept that events of {formatting.count(len(lost), 'job')} are lost?", yes=yes)
        accept_losses(app.database, file, lost, accept)
        report = replace(report, findings=tuple(f for f in report.findings if f not in lost))
        out.say(f"Accepted: events of {formatting.count(len(lost), 'job')} are lost. {file} says so, with the reason.", "yellow")
    uneven = ledger.check(app.database)
    published = publish_heads(app.database, file) if publish and not report.findings else None
    if as_json:
        findings = [_finding(f) for f in report.findings]
        out.emit(
            {"jobs": report.jobs, "events": report.events, "findings": findings, "ledger": tokens.as_data(uneven), "published": published}
        )
    else:
        _findings(report.findings)
        figures = (report.jobs, "job"), (report.events, "event"), (len(report.findings), "finding")
        print(", ".join(formatting.count(number, what) for number, what in figures))
        tokens.findings(uneven)
        print(tokens.summary(uneven))
        if published is not None:
            out.say(
                f"{formatting.count(published, 'head')} written to {file}. Keep a copy where this database's owner cannot write.", "dim"
            )
        elif known is None:
            out.say("No published heads to compare with: a cut tail or a missing job would not be seen. `--publish` writes them.", "yellow")
        older = app.config.home / "heads.jsonl"
        if heads is None and older.is_file():
            out.say(f"{older} speaks of no job of this database: it is another's, or all of them are gone (--heads {older}).", "yellow")
    if publish and report.findings:
        out.say("No heads were published: look into the findings first.", "yellow")
    if report.findings or uneven:
        raise typer.Exit(1)


def rebuild(
    verify: Annotated[bool, typer.Option("--verify", help="Change nothing; exit 1 when a row does not follow from its events.")] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Make the rows of jobs anew from their events."""
    from ourvidz import bootstrap
    from ourvidz.audit import rebuild

    if not verify:
        out.confirm("Rewrite every job's row from its events?", yes=yes)
    app = bootstrap.app()
    with _progress("rebuild") as tell:
        findings = rebuild(app.database, verify=verify, on_progress=tell)
    if as_json:
        out.emit({"verify": verify, "findings": [_finding(f) for f in findings]})
    else:
        _findings(findings)
        repaired = 0 if verify else sum(f.kind in _REPAIRED for f in findings)
        print(f"{formatting.count(len(findings), 'finding')}, {formatting.count(repaired, 'row')} repaired")
    # A row whose history does not verify is left unchanged, for a person to decide.
    if (verify and findings) or any(f.kind not in _REPAIRED for f in findings):
        raise typer.Exit(1)


def _finding(f: Any) -> dict[str, Any]:
    return {"kind": f.kind, "job_id": f.job_id, "version": f.version, "message": f.message}


def _findings(findings: Sequence[Any]) -> None:
    shown = findings[:SHOWN] if out.stdout().is_terminal else findings
    if shown:
        rows = [[out.cell(f.kind, "red"), out.job_id(f.job_id or ""), out.number(f.version), out.cell(f.message)] for f in shown]
        out.table(("finding", "job", "version", ""), rows, right=("version",))
    if len(shown) < len(findings):
        out.say(f"… and {len(findings) - len(shown):,} more; --json lists them all.", "dim")


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int], None]]:
    """A line on stderr that counts the jobs looked at."""
    from ourvidz.cli import live

    with live.bars() as shown:
        task = shown.add_task(name, total=None, stage="", figures="")

        def tell(done: int) -> None:
            shown.update(task, figures=formatting.count(done, "job"))

        yield tell
