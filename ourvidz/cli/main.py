"""The command `ourvidz`: registers the subcommands and reports their errors. Each subcommand is a module that imports heavy packages only
when it runs.

Exit codes: 0 success; 1 failed or refused; 2 usage error; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from pathlib import Path
from typing import NoReturn

import typer

from ourvidz import account, file_permissions
from ourvidz.cli import (
    age,
    blocks,
    buckets,
    bulk,
    consent,
    cutover,
    deliver,
    demo,
    dev,
    doctor,
    enhancer,
    erase,
    events,
    intake,
    integrity,
    jobs,
    logins,
    migrate,
    models,
    provenance,
    reaper,
    receivers,
    reports,
    restored,
    safety,
    stats,
    submit,
    tokens,
    top,
    up,
    videos,
    worker,
)
from ourvidz.cli.help import KEEP, LOOK, START, Sections
from ourvidz.cli.out import Problem, say, stderr
from ourvidz.cli.terminal import SafeStream

app = typer.Typer(
    name="ourvidz",
    cls=Sections,
    add_completion=False,
    rich_markup_mode=None,  # plain help pages, and half the start-up time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Make images and short videos: jobs in Postgres, run by executors, every step an event.",
    epilog="\b\nNew here?\n  ourvidz demo             one job of every kind; needs nothing else\n"
    "  ourvidz COMMAND --help   what a command does, with examples",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"ourvidz {version('ourvidz')}")
        raise typer.Exit()


@app.callback()
def _root(version: bool = typer.Option(False, "--version", is_eager=True, callback=_version, help="Print the version.")) -> None: ...


demo.add(app, START)
submit.add(app, START)
worker.add(app, START)
enhancer.add(app, START)
up.add(app, START)
jobs_app = typer.Typer(cls=Sections, rich_markup_mode=None, help="List, show, watch, retry and cancel jobs.")
jobs.add(jobs_app)
bulk.add(jobs_app)
app.add_typer(jobs_app, name="jobs", rich_help_panel=LOOK)
videos_app = typer.Typer(cls=Sections, rich_markup_mode=None, help="Show scenes, and approve their previews.")
videos.add(videos_app)
app.add_typer(videos_app, name="videos", rich_help_panel=LOOK)
events.add(app, LOOK)
top.add(app, LOOK)
stats.add(app, LOOK)
provenance.add(app, LOOK)
doctor.add(app, LOOK)
migrate.add(app, KEEP)
restored.add(app, KEEP)
cutover.add(app, KEEP)
models.add(app, KEEP)
safety.add(app, KEEP)
age.add(app, KEEP)
reports.add(app, KEEP)
blocks.add(app, KEEP)
consent.add(app, KEEP)
erase.add(app, KEEP)
buckets_app = typer.Typer(cls=Sections, rich_markup_mode=None, help="Make the buckets, and clear what nothing names out of them.")
buckets.add(buckets_app)
app.add_typer(buckets_app, name="buckets", rich_help_panel=KEEP)
integrity.add(app, KEEP)
tokens.add(app, KEEP)
logins.add(app, KEEP)
reaper.add(app, KEEP)
intake.add(app, KEEP)
dev.add(app, KEEP)
deliver_app = typer.Typer(cls=Sections, rich_markup_mode=None, help="Tell receivers of jobs: callbacks, signed and repeated.")
deliver.add(deliver_app)
receivers_app = typer.Typer(cls=Sections, rich_markup_mode=None, help="Who is told of jobs.")
receivers.add(receivers_app)
deliver_app.add_typer(receivers_app, name="receivers")
app.add_typer(deliver_app, name="deliver", rich_help_panel=KEEP)

_OURS = ("ourvidz.", "executors.", "state.")


def main() -> NoReturn:
    _end(run())


def run() -> int:
    """Run the command in sys.argv, flush its output and return the exit code."""
    file_permissions.begin()
    account.begin()
    code = 0
    if not isinstance(sys.stdout, SafeStream):
        sys.stdout, sys.stderr = SafeStream(sys.stdout), SafeStream(sys.stderr)
    try:
        app(prog_name="ourvidz")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 1
    except Exception as error:
        if os.environ.get("OURVIDZ_DEBUG"):
            raise
        code = tell(error)
    return _flushed(code)


def tell(error: Exception) -> int:
    """Print the error on stderr and return the exit code."""
    from state.errors import InvalidJob

    wrong = error.code if isinstance(error, Problem) else 2 if isinstance(error, InvalidJob) else 1
    stderr().print("[red]error:[/] ", end="")
    say(_words(error))
    return wrong


def _words(error: Exception) -> str:
    module, first = type(error).__module__ + ".", str(error).strip().partition("\n")[0]
    if module.startswith(_OURS):
        look = ". Look at DATABASE_URL; unset, it means the embedded one." if "The database cannot be reached" in first else ""
        return str(error) + look  # our own errors say what happened, to which job, and what to do
    if module.startswith(("sqlalchemy.", "psycopg.")):
        from ourvidz.db import outages

        reason = first.partition(") ")[2] if first.startswith("(psycopg.") else first
        if outages.is_fault(getattr(error, "orig", error)):
            return f"The database refuses this: {reason}. Nothing was changed."
        if outages.is_undone(getattr(error, "orig", error)):
            return f"The database undid this: {reason}. Another session may be in the way; ask again."
    if module.startswith(("sqlalchemy.", "psycopg.")) and "OperationalError" in type(error).__name__:
        return f"The database cannot be reached: {reason}. Look at DATABASE_URL; unset, it means the embedded one."
    if module.startswith(("sqlalchemy.", "psycopg.")) and "InsufficientPrivilege" in f"{type(error).__name__} {first}":
        denied = first.partition("InsufficientPrivilege) ")[2] or first
        return f"The login in DATABASE_URL may not do this ({denied}). Use its owner's; an executor's may do less."
    if module.startswith("pydantic_core."):
        from pydantic import ValidationError

        assert isinstance(error, ValidationError)
        wrong = ((str(e["loc"][0]).upper(), e["msg"].removeprefix("Value error, ")) for e in error.errors(include_input=False))
        return "The environment cannot be read. " + " ".join(f"{name}: {why}" for name, why in wrong)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] not in ("ourvidz", "state", "executors"):
        return f"{error.name} is not installed. `pip install 'ourvidz[models]'` brings what models need; `ourvidz doctor` lists all."
    if isinstance(error, OSError):
        hint = ". Set OURVIDZ_HOME to a folder that this account may write" if _at_home(error) else ""
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}{hint}"
    return f"{type(error).__name__}: {first} (unexpected; OURVIDZ_DEBUG=1 shows where)"


def _at_home(error: OSError) -> bool:
    from ourvidz.config import config

    place = Path(os.fsdecode(error.filename or ""))
    return isinstance(error, PermissionError) and config().home in (place, *place.parents)


def _end(code: int) -> NoReturn:
    """Exit without the interpreter's shutdown, which frees objects one by one: as long as `jobs ls` takes, and 0.3 s with torch.
    Shutdown would also end a daemon thread that is still in native code (a screen or a DNS lookup past its time limit) in the middle of a
    C++ call, and libstdc++ then aborts with SIGABRT; with such a thread exit functions are skipped too. The normal shutdown runs only if
    there are other threads, all non-daemon, to wait for.
    """
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    if not any(thread.daemon for thread in others):
        if others:
            sys.exit(code)
        atexit._run_exitfuncs()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


def _flushed(code: int) -> int:
    """Flush stdout. If its reader is gone, point it at /dev/null, so that Python does not flush into the broken pipe at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code


if __name__ == "__main__":
    main()
