"""`ourvidz` as run from a shell, except that executors die, wait or fail to start where a test says, and supervisors use shorter times.

Run as a script, by the tests as `ourvidz up` and by that as each of its processes; or all of them forked from one process that has
imported what they need (fork_processes.py). Production code has no hooks for this.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from child_signals import restore

VARIABLE = "UP_TEST"
SPEC: dict[str, Any] = {}


def stage() -> None:
    """Install named crash points, and a gate at which a job on the device waits."""
    from ourvidz.lifecycle import Claim, Jobs

    advance, take = Jobs.advance, Jobs.claim

    def step(self: Jobs, claim: Claim, event: str, **data: Any) -> None:
        advance(self, claim, event, **data)
        if event == "generation_started":
            if claim.settings.seed == SPEC.get("crash_seed") or claim.lane == SPEC.get("crash_lane"):
                os.kill(os.getpid(), signal.SIGSEGV)
            while Path(SPEC["gate"]).exists():
                time.sleep(0.02)

    def claim(self: Jobs, *args: Any, **more: Any) -> list[Claim]:
        claims = take(self, *args, **more)
        if any(c.lane == SPEC.get("crash_loading") for c in claims):
            os.kill(os.getpid(), signal.SIGKILL)
        return claims

    Jobs.advance, Jobs.claim = step, claim  # type: ignore[method-assign]


def light() -> None:
    """Replace torch, which takes seconds to start, in the executor: its families draw noise. The rest is real."""
    from PIL import Image

    from executors.enhancer.client import remote
    from executors.models.base import Clip, Picture
    from executors.shelf import Shelf
    from executors.worker import Worker, handle_signals
    from ourvidz import bootstrap
    from ourvidz.cli import executor

    class Noise:
        name = "noise"

        def describe(self) -> dict[str, Any]:
            return {"family": "noise", "tiny": True}

        def unload(self) -> None: ...

        def generate(self, work: Any, on_step: Any) -> Any:
            for n, seed in enumerate(work.seeds):
                on_step(n + 1, len(work.seeds))
                picture = Image.effect_noise((64, 64), 50).convert("RGB")
                yield Picture(picture, seed) if work.frames == 1 else Clip([picture] * 5, work.fps, seed)

    class Noisy(Shelf):
        def ready(self) -> None: ...

        def family(self, lane: str) -> Any:
            return Noise()

    name, lanes = (sys.argv[sys.argv.index(option) + 1] for option in ("--name", "--lanes"))
    app = bootstrap.app(patience=math.inf)
    with executor.told(logging.INFO):
        worker = Worker(
            app.jobs, app.store, Noisy(app.config.models), app.config.home, name=name, lanes=lanes.split(","), own_process=True,
            enhancer=remote(app.config.ourvidz_enhancer, app.config.home),
        )  # fmt: skip
        handle_signals(worker)
        worker.run()


def forked() -> bool:
    """Make `up` fork its processes from here on. Returns False in each forked process, which has its own arguments by then."""
    import fork_processes

    from executors.orchestrator import process

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    if os.fork() == 0:
        ours.close()
        fork_processes.die_with(parent)
        fork_processes.serve(theirs)
        return False
    theirs.close()
    server = fork_processes.Forks(ours)

    def start(argv: list[str], *, env: dict[str, str], pass_fds: tuple[int, ...], **_: Any) -> fork_processes.Forked:
        output, its_output = os.pipe()
        made = fork_processes.Forked(server.start(argv[1:], env, its_output, *pass_fds, session=True), os.fdopen(output, "rb", buffering=0))
        os.close(its_output)
        folder = Path(env["OURVIDZ_HOME"], "argv")
        folder.mkdir(exist_ok=True)
        (folder / f"{made.pid}.new").write_text("\0".join(argv))
        (folder / f"{made.pid}.new").rename(folder / str(made.pid))
        return made

    process.subprocess = SimpleNamespace(  # type: ignore[assignment]
        Popen=start, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT, DEVNULL=subprocess.DEVNULL
    )
    return True


def run(*, fork: bool) -> None:
    SPEC.update(json.loads(os.environ.get(VARIABLE, "{}")))
    if sys.argv[1] == "up":
        from executors.orchestrator import main as orchestrator
        from executors.orchestrator import policy, roster

        if fork and not forked():
            return run(fork=False)
        roster.OURVIDZ = (sys.executable, str(Path(__file__)))
        orchestrator.Rules = partial(policy.Rules, **SPEC["rules"])  # type: ignore[misc,assignment]
    elif sys.argv[1] == "worker":
        if any(name in sys.argv for name in SPEC.get("no_start", ())):
            sys.exit("there is no such device")
        stage()
        if SPEC.get("light"):
            return light()
    from ourvidz.cli.main import main as command

    command()


def main() -> None:
    restore()
    run(fork=False)


if __name__ == "__main__":
    main()
