"""Run the tests' own functions in processes forked from one that has imported the program: starting an interpreter and importing it
costs half a second of CPU each."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any
from unittest.mock import patch

IMPORTED = ["forked", "PIL.Image", "ourvidz.bootstrap", "ourvidz.delivery.deliverer", "ourvidz.intake.drain", "ourvidz.storage.supabase"]


@cache
def _context() -> ForkServerContext:
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(IMPORTED)
    # Before Python 3.13 the fork server does not get the parent's sys.path.
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        forkserver.ensure_running()
    return found


def start(target: Callable[..., object], *args: Any, env: Mapping[str, str] | None = None) -> ForkServerProcess:
    """Start a process that calls `target`, a module-level function, with `args`. `env`: its whole environment (default: this process's)."""
    process = _context().Process(target=_run, args=(dict(os.environ if env is None else env), target, args))
    process.start()
    return process


def _run(env: dict[str, str], target: Callable[..., object], args: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(env)
    target(*args)
