"""`ourvidz worker`."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from ourvidz.cli import out
from ourvidz.cli.help import about


def add(app: typer.Typer, panel: str) -> None:
    samples = ("ourvidz worker", "ourvidz worker --name gpu0 --lanes wan,wan_vace", "ourvidz worker --profile exact --idle-exit 60")
    app.command("worker", **about(*samples, panel=panel))(worker)


def worker(
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="This executor's name; else the host's and a number.")] = None,
    lanes: Annotated[
        str | None, typer.Option("--lanes", metavar="LANES", help="Only these: sdxl, sdxl_ip, wan, wan_vace, by commas.")
    ] = None,
    idle_exit: Annotated[
        float | None, typer.Option("--idle-exit", metavar="SECONDS", min=0, help="Leave when nothing came so long.")
    ] = None,
    profile: Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Speed profile; else OURVIDZ_PROFILE's.")] = None,
) -> None:
    """Run an executor, which claims jobs and makes their pictures.

    Ctrl-C once: what runs is finished first. Twice: it is given back at its next step.
    """
    from state.catalog import LANES

    chosen = [lane.strip() for lane in lanes.split(",") if lane.strip()] if lanes is not None else None
    if chosen is not None and (not chosen or set(chosen) - set(LANES)):
        wrong = sorted(set(chosen) - set(LANES)) or ["(none)"]
        raise out.Problem(f"There is no lane {wrong[0]}. Lanes are: {', '.join(LANES)}.", 2)
    from ourvidz import bootstrap
    from ourvidz.cli import executor
    from ourvidz.config import config

    executors = executor.able("An executor")
    executor.check_profile(executors, profile or config().ourvidz_profile)
    app = bootstrap.app()
    with executor.told(logging.INFO), executor.own_signals():
        code = executors.work(
            app, name=name, lanes=chosen, idle_exit=idle_exit, profile=profile, own_process=True, say=lambda line: out.say(line, "dim")
        )
    raise typer.Exit(code)
