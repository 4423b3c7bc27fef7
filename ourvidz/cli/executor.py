"""Access to the executors by entry point: this package never imports them, so a machine without torch has the same command."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ourvidz.cli.out import Problem, stderr
from ourvidz.cli.terminal import one_line

if TYPE_CHECKING:
    from ourvidz.bootstrap import App
    from ourvidz.config import Config
    from ourvidz.contact_sheet import Cell
    from ourvidz.db.connection import Database
    from ourvidz.progress import Observer
    from ourvidz.safety.images import Watchful
    from ourvidz.safety.screen import PromptScreen

OnModelFile = Callable[[str, str, int, int | None], None]
"""(file, action, bytes done, total bytes)"""
NEEDED = ("torch", "diffusers", "transformers", "PIL", "av", "c2pa", "py3langid")
HINT = "pip install 'ourvidz[models]'"


class Supervised(Protocol):
    """A process that `ourvidz up` runs."""

    @property
    def name(self) -> str: ...
    @property
    def lanes(self) -> Sequence[str]: ...
    @property
    def device(self) -> str | None: ...
    def argv(self) -> list[str]: ...


class Executors(Protocol):
    def work(
        self, app: App, *, name: str | None = None, lanes: Sequence[str] | None = None, until: Collection[str] | None = None,
        patience: float = ..., idle_exit: float | None = None, profile: str | None = None, observer: Observer | None = None,
        signals: bool = True, own_process: bool = False, warm: Sequence[str] | None = (), say: Callable[[str], None] = ...,
    ) -> int: ...  # fmt: skip
    def serve_enhancer(self, config: Config, *, database: Database | None = None, say: Callable[[str], None] = ...) -> int: ...
    def check_attention(self, config: Config) -> None: ...
    def profiles(self) -> list[dict[str, str]]: ...
    def roster(
        self, *, split: bool, intake: bool, legacy_queue: bool, deliver: bool, name: str | None, each: int, enhancer: str | None
    ) -> tuple[str, Sequence[Supervised]]: ...
    def supervise(
        self, app: App, roster: Sequence[Any], *, name: str | None = None, idle_exit: float | None = None, reopen: bool = False,
        say: Callable[[str, str], None],
    ) -> int: ...  # fmt: skip
    def make_tiny(self, root: Path, on_progress: Callable[[str], None], *, random: bool | None = None) -> str: ...
    def plan_models(self, config: Config, vram: int | None) -> dict[str, Any]: ...
    def check_models(self, root: Path, *, deep: bool = False, structure: bool = False) -> list[dict[str, Any]]: ...
    def can_compare(self) -> bool: ...
    def pin_screen(self, folder: Path) -> dict[str, Any]: ...
    def pin_models(self, root: Path, roles: Sequence[str]) -> dict[str, Any]: ...
    def accept_pins(self, folder: Path) -> None: ...
    def plan_pull(
        self, root: Path, *, roles: Sequence[str], sdxl: str | None, sdxl_sha256: str, sources: Path | None,
        update: bool, locked: bool, deep: bool,
    ) -> Any: ...  # fmt: skip
    def tell_pull(self, plan: Any) -> dict[str, Any]: ...
    def carry_out_pull(self, plan: Any, on_progress: OnModelFile) -> list[dict[str, Any]]: ...
    def conversions(self, root: Path) -> list[dict[str, Any]]: ...
    def convert_models(self, root: Path, say: Callable[[str], None], *, prune: bool = False) -> list[dict[str, Any]]: ...
    def guard(self, config: Config, *, say: Callable[[str], None]) -> PromptScreen: ...
    def image_screen(self, config: Config) -> Watchful | None: ...
    def reference_type(self, data: bytes) -> str: ...
    def signer(self, config: Config) -> dict[str, Any]: ...
    def read_provenance(self, path: Path, trust: Path | None = None) -> dict[str, Any]: ...
    def draw_references(self) -> dict[str, bytes]: ...
    def contact_sheet(self, cells: Sequence[Cell], path: Path) -> None: ...


def found() -> Executors:
    # Their warnings are for developers, and would break up the progress display.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    for entry in entry_points(group="ourvidz.executors", name="default"):
        executors: Executors = entry.load()()
        return executors
    raise Problem("No executors are installed beside this command. Install the whole program: pip install ourvidz")


def able(purpose: str, needed: Sequence[str] = NEEDED) -> Executors:
    """The executors. Raises `Problem` if a package that they need is not installed."""
    if missing := [name for name in needed if find_spec(name) is None]:
        raise Problem(f"{purpose} needs {', '.join(missing)}, not installed here. Install with: {HINT}")
    return found()


def check_profile(executors: Executors, name: str) -> None:
    """Raise `Problem` for an unknown speed profile, before anything is loaded."""
    names = [row["name"] for row in executors.profiles()]
    if name not in names:
        raise Problem(f"There is no speed profile {name!r}. Choose one of: {', '.join(names)}.", 2)


@contextmanager
def told(level: int = logging.WARNING) -> Iterator[None]:
    """Send the program's log to stderr, above any progress display."""

    class ToPerson(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            stderr().print(one_line(record.getMessage()), style="yellow" if record.levelno >= logging.WARNING else "dim", markup=False)

    log, handler = logging.getLogger("ourvidz"), ToPerson()
    before, log.level, log.propagate = log.level, level, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
        log.propagate = True


@contextmanager
def own_signals() -> Iterator[None]:
    """Restore our SIGINT and SIGTERM handlers afterwards: the executor sets its own, to drain."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(kind) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def work_until(
    app: App, jobs: Collection[str], observer: Observer | None = None, *, patience: float, say: Callable[[str], None] = lambda _: None
) -> None:
    """Run an executor in this process until these jobs have ended. Ctrl-C releases the running job and raises KeyboardInterrupt. Raises
    `Problem` if for `patience` seconds no executor, here or elsewhere, serves the remaining lanes."""
    executors = able("Running jobs in this process")
    with told(), own_signals():
        left_over = executors.work(app, until=jobs, patience=patience, observer=observer, say=say)
    from ourvidz.cli import lane_wait
    from ourvidz.db import queries
    from state.machine import ENDED

    rows = [row for row in queries.by_ids(app.database, jobs) if row["status"] not in ENDED]
    if rows and left_over:
        raise Problem(lane_wait.told(app.database, rows[0], patience))
    if rows:
        raise KeyboardInterrupt
