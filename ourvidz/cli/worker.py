"""`ourvidz worker`."""

from __future__ import annotations

import logging
import math
from typing import Annotated

import typer

from ourvidz.cli import options, out
from ourvidz.cli.help import about


def add(app: typer.Typer, panel: str) -> None:
    samples = (
        "ourvidz worker",
        "ourvidz worker --name gpu0 --lanes wan,wan_vace",
        "ourvidz worker --profile exact --idle-exit 10m",
        "ourvidz worker --warm sdxl,wan",
    )
    app.command("worker", **about(*samples, panel=panel))(worker)


def worker(
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="This executor's name; else the host's and a number.")] = None,
    lanes: Annotated[
        str | None, typer.Option("--lanes", metavar="LANES", help="Only these: sdxl, sdxl_ip, wan, wan_vace, by commas.")
    ] = None,
    idle_exit: options.IdleExit = None,
    warm: Annotated[
        str, typer.Option("--warm", metavar="LANES", help="Load these before a job asks: auto is what the queue needs first, or none.")
    ] = "auto",
    profile: Annotated[str | None, typer.Option("--profile", metavar="NAME", help="Speed profile; else OURVIDZ_PROFILE's.")] = None,
) -> None:
    """Run an executor, which claims jobs and makes their pictures.

    Ctrl-C once: what runs is finished first. Twice: it is given back at its next step.
    """
    chosen = None if lanes is None else _lanes(lanes)
    first = None if warm == "auto" else [] if warm == "none" else _lanes(warm)
    seconds = options.seconds(idle_exit, "--idle-exit")
    from ourvidz import bootstrap
    from ourvidz.cli import executor
    from ourvidz.config import config

    executors = executor.able("An executor")
    executor.check_profile(executors, profile or config().ourvidz_profile)
    app = bootstrap.app(patience=math.inf)
    with executor.told(logging.INFO), executor.own_signals():
        code = executors.work(
            app,
            name=name,
            lanes=chosen,
            idle_exit=seconds,
            profile=profile,
            own_process=True,
            warm=first,
            say=lambda line: out.say(line, "dim"),
        )
    raise typer.Exit(code)


def _lanes(text: str) -> list[str]:
    from state.catalog import LANES

    chosen = [lane.strip() for lane in text.split(",") if lane.strip()]
    if wrong := sorted(set(chosen) - set(LANES)) or ([] if chosen else ["(none)"]):
        raise out.Problem(f"There is no lane {wrong[0]}. Lanes are: {', '.join(LANES)}.", 2)
    return chosen
