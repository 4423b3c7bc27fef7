"""`ourvidz enhancer`."""

from __future__ import annotations

import logging

import typer

from ourvidz.cli import out
from ourvidz.cli.help import about


def add(app: typer.Typer, panel: str) -> None:
    samples = ("ourvidz enhancer", "CUDA_VISIBLE_DEVICES=1 ourvidz enhancer", "OURVIDZ_ENHANCER=/run/ourvidz/e.sock ourvidz enhancer")
    app.command("enhancer", **about(*samples, panel=panel))(enhancer)


def enhancer() -> None:
    """Run the enhancer, which rewrites prompts for this machine's executors.

    Executors find it by themselves, and then need not hold its model; without it they enhance on their own. Ctrl-C once: what was asked of
    it is answered first. Twice: it leaves at once.
    """
    from ourvidz.cli import executor
    from ourvidz.config import config

    executors = executor.able("The enhancer")
    if config().ourvidz_enhancer == "off":
        raise out.Problem("OURVIDZ_ENHANCER is `off`, so no executor would ask this one. Unset it, or name a socket.", 2)
    with executor.told(logging.INFO), executor.own_signals():
        code = executors.serve_enhancer(config(), say=lambda line: out.say(line, "dim"))
    raise typer.Exit(code)
