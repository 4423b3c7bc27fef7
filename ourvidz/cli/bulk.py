"""`ourvidz jobs retry | cancel | reroute`: act on jobs given by id, or on all that match a filter.

A filter is resolved once and shown as counts; then each job is acted on at the version that was counted. A job that changed meanwhile is
reported and left alone. A dry run does the same and rolls each job back. Each job is its own transaction, so an interrupted run can be
repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, options, out, resolve
from ourvidz.cli.help import about

if TYPE_CHECKING:
    from ourvidz.bootstrap import App
    from ourvidz.db.queries import Filter
    from ourvidz.lifecycle import Jobs

SHOWN = 20
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Of a filter's jobs at most so many, oldest first.")]
All = Annotated[bool, typer.Option("--all", help="Every job that may be, without a filter.")]


@dataclass(frozen=True)
class Verb:
    name: str
    past: str
    done: str
    statuses: tuple[str, ...]  # of a filter without --status
    act: Callable[[Jobs, str, int, str], object]
    left_out: str = ""  # why some of a filter's jobs are left out
    again: Callable[[Mapping[str, Any]], bool] = lambda _: False  # already done or requested: asking again succeeds

    def may(self, row: dict[str, Any]) -> bool:
        return self.name in resolve.allowed(row)


def add(app: typer.Typer) -> None:
    some = ("--error-class timeout --since 1d --dry-run", "--error-class timeout --since 1d --yes")
    others = ("--type sdxl_image_fast --dry-run", "--since 1d --yes")
    for function, sample in ((retry, some), (cancel, ("--type video_high --dry-run", "--user 0f3c… --yes")), (reroute, others)):
        name = function.__name__
        app.command(name, **about(f"ourvidz jobs {name} 3f2a", *(f"ourvidz jobs {name} {line}" for line in sample)))(function)


def retry(
    ids: options.JobIds = None,
    status: options.Status = None,
    job_type: options.Type = None,
    user: options.User = None,
    error_class: options.ErrorClass = None,
    since: options.Since = None,
    everything: All = False,
    limit: Limit = 10_000,
    charge: Annotated[bool, typer.Option("--charge", help="Users pay for what is still to be made; otherwise it is free.")] = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Start failed or cancelled jobs again.

    What they had finished is kept. Nobody pays for it, and each job's event says what was waived, unless --charge is given: then a job
    whose user has too few tokens is left alone. A filter means failed ones, unless --status says otherwise.
    """
    verb = Verb(
        "retry", "retried", "queued again", ("failed",),
        lambda jobs, job_id, version, actor: jobs.retry(job_id, version=version, actor=actor, charge=charge),
        "refused for good, which no retry may follow",
    )  # fmt: skip
    _run(verb, ids, (status, job_type, error_class, user, since), everything, limit, dry_run, yes, as_json)


def cancel(
    ids: options.JobIds = None,
    status: options.Status = None,
    job_type: options.Type = None,
    user: options.User = None,
    error_class: options.ErrorClass = None,
    since: options.Since = None,
    everything: All = False,
    limit: Limit = 10_000,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Cancel jobs that have not ended.

    Those that wait are cancelled at once, those that run within a step. What they had delivered stays and is paid for; the rest of
    their tokens is given back.
    """
    from state.machine import UNFINISHED

    verb = Verb(
        "cancel", "cancelled", "cancelled, or will be within a step", tuple(map(str, UNFINISHED)),
        lambda jobs, job_id, version, actor: jobs.cancel(job_id, version=version, actor=actor),
        "ended, or asked to stop already", lambda row: row["status"] == "cancelled" or row["cancel_requested"],
    )  # fmt: skip
    _run(verb, ids, (status, job_type, error_class, user, since), everything, limit, dry_run, yes, as_json)


def reroute(
    ids: options.JobIds = None,
    job_type: options.Type = None,
    user: options.User = None,
    since: options.Since = None,
    everything: All = False,
    limit: Limit = 10_000,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Send jobs that wait to the type that stands in for theirs.

    sdxl_image_fast goes to image_fast; sdxl_image_high and sdxl_image_premium go to image_high. Batches and jobs with reference pictures
    are refused.
    """
    verb = Verb(
        "reroute", "rerouted", "rerouted", ("queued",),
        lambda jobs, job_id, version, actor: jobs.reroute(job_id, version=version, actor=actor),
        "no fallback, or on an executor",
    )  # fmt: skip
    _run(verb, ids, (None, job_type, None, user, since), everything, limit, dry_run, yes, as_json)


def _run(
    verb: Verb, ids: Sequence[str] | None, narrow: tuple[Any, ...], everything: bool, limit: int, dry_run: bool, yes: bool, as_json: bool
) -> None:
    from ourvidz import bootstrap

    if ids and (everything or any(narrow)):
        raise out.Problem("Give ids or a filter, not both.", 2)
    if not ids and not everything and not any(narrow):
        filters = "--error-class, --type, --status, --user, --since"
        raise out.Problem(f"Which jobs? Give ids, or a filter ({filters}), or --all to {verb.name} all.", 2)
    app = bootstrap.app()
    if ids:
        rows = list({str(row["id"]): row for row in (resolve.job(app.database, one) for one in ids)}.values())
        skipped = 0
    else:
        rows, skipped = _candidates(app, verb, resolve.which(app.database, *narrow), limit)
    if dry_run or not ids:
        _preview(verb, rows, skipped, limit, quiet=as_json)
    if dry_run:
        return _say_would(verb, *_each(app.jobs.rehearsing(), verb, rows), as_json)
    if rows and not ids:
        out.confirm(f"{verb.name.capitalize()} {formatting.count(len(rows), 'job')}?", yes=yes)
    done, refused = _each(app.jobs, verb, rows)
    _say_done(verb, done, refused, as_json)


def _candidates(app: App, verb: Verb, which: Filter, limit: int) -> tuple[list[dict[str, Any]], int]:
    """The filter's jobs that the verb applies to, and the number of those that it does not."""
    from dataclasses import replace

    from ourvidz.db import queries

    rows = queries.candidates(app.database, which if which.statuses else replace(which, statuses=verb.statuses), limit)
    able = [row for row in rows if verb.may(row)]
    return able, len(rows) - len(able)


def _preview(verb: Verb, rows: list[dict[str, Any]], skipped: int, limit: int, *, quiet: bool) -> None:
    """Print counts by job type, status and error on stderr."""
    if quiet:
        return
    for (job_type, status, error), n in sorted(Counter((r["job_type"], r["status"], r["error_class"] or "") for r in rows).items()):
        out.say(f"  {n:>7,}  {job_type:<24}{status:<12}{error}")
    if skipped:
        out.say(f"  {skipped:>7,}  left out: {verb.left_out}", "dim")
    if len(rows) + skipped >= limit:
        out.say(f"  Only the oldest {limit:,}; --limit takes more.", "yellow")


def _each(jobs: Jobs, verb: Verb, rows: list[dict[str, Any]]) -> tuple[list[str], list[tuple[str, str]]]:
    from ourvidz.cli import live
    from state.errors import FinalFailure, IllegalTransition, InsufficientTokens, InvalidJob, JobNotFound, VersionConflict

    done: list[str] = []
    refused: list[tuple[str, str]] = []
    who = resolve.actor()
    with live.bars() as shown:
        task = shown.add_task(verb.name, total=len(rows), stage="", figures="", visible=len(rows) > 20)
        for n, row in enumerate(rows, 1):
            job_id = str(row["id"])
            if not verb.may(row) and not verb.again(row):
                refused.append((job_id, _why_not(verb, row)))
                shown.update(task, advance=1, figures=f"{n:,}/{len(rows):,}")
                continue
            try:
                verb.act(jobs, job_id, row["version"], who)
                done.append(job_id)
            except (FinalFailure, IllegalTransition, InsufficientTokens, InvalidJob, JobNotFound, VersionConflict) as error:
                refused.append((job_id, str(error)))
            shown.update(task, advance=1, figures=f"{n:,}/{len(rows):,}")
    return done, refused


def _why_not(verb: Verb, row: dict[str, Any]) -> str:
    state = f"{row['status']}{', held by an executor' if row['held'] else ''}"
    why = " It was refused for good: no retry may follow." if row["final"] and verb.name == "retry" else ""
    follows = ", ".join(resolve.allowed(row)) or "nothing"
    return f"A {row['job_type']} job that is {state} may not be {verb.past}.{why} What may follow: {follows}."


def _say_would(verb: Verb, ids: list[str], refused: list[tuple[str, str]], as_json: bool) -> None:
    """Each job was tried and rolled back by itself: limits that two jobs of one user exceed only together do not show."""
    if as_json:
        return out.emit({"action": verb.name, "dry_run": True, "would": ids, "refused": _reasons(refused)})
    out.say(f"Would {verb.name} {formatting.count(len(ids), 'job')}. Nothing was done.")
    _print_ids(ids)
    _say_refused(refused)


def _say_done(verb: Verb, done: list[str], refused: list[tuple[str, str]], as_json: bool) -> None:
    if as_json:
        out.emit({"action": verb.name, "dry_run": False, "done": done, "refused": _reasons(refused)})
    else:
        if done or not refused:
            out.say(f"{formatting.count(len(done), 'job')} {verb.done}.", "green" if done else "")
        _print_ids(done)
        _say_refused(refused)
    if refused:
        raise typer.Exit(1)


def _reasons(refused: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"id": job_id, "reason": why} for job_id, why in refused]


def _say_refused(refused: list[tuple[str, str]]) -> None:
    for job_id, why in refused[:SHOWN]:
        out.say(f"  {job_id[:8]}  {why}", "yellow")
    if len(refused) > SHOWN:
        out.say(f"  … and {len(refused) - SHOWN:,} more that are refused; --json lists them all.", "yellow")


def _print_ids(ids: list[str]) -> None:
    """Print ids into a pipe, for the next command; on a terminal the counts suffice."""
    if not out.stdout().is_terminal:
        for job_id in ids:
            print(job_id)
