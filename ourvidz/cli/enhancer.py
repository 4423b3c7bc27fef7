"""`ourvidz enhancer`."""

from __future__ import annotations

import logging
import math

import typer

from ourvidz.cli import out
from ourvidz.cli.help import about


def add(app: typer.Typer, panel: str) -> None:
    samples = ("ourvidz enhancer", "CUDA_VISIBLE_DEVICES=1 ourvidz enhancer", "OURVIDZ_ENHANCER=/run/ourvidz/e.sock ourvidz enhancer")
    app.command("enhancer", **about(*samples, panel=panel))(enhancer)


def enhancer() -> None:
    """Run the enhancer, which rewrites prompts for this machine's executors.

    Executors find it by themselves, and then need not hold its model; without it they enhance on their own. Where there is a database it
    answers the front end's prompt dialog too (edge function enhance-prompt). Ctrl-C once: what was asked of it is answered first. Twice: it
    leaves at once.
    """
    from ourvidz.bootstrap import App
    from ourvidz.cli import executor
    from ourvidz.config import config
    from ourvidz.db.embedded import status

    executors = executor.able("The enhancer")
    if config().ourvidz_enhancer == "off":
        raise out.Problem("OURVIDZ_ENHANCER is `off`, so no executor would ask this one. Unset it, or name a socket.", 2)
    app = App(config(), patience=math.inf)
    database = app.database if not app.embedded or status(app.config.home).version else None  # no database: no requests come by it
    with executor.told(logging.INFO), executor.own_signals():
        code = executors.serve_enhancer(app.config, database=database, say=lambda line: out.say(line, "dim"))
    raise typer.Exit(code)
