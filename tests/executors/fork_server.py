"""`python fork_server.py MODELS SOCKET`: imports all of OurVidz, loads the tiny models once (six seconds), and forks (fork_processes.py)
executors (crash_worker.py), enhancers (enhancer_process.py), `ourvidz up` (up_command.py) and other commands for `executor_site.Zygote`."""

from __future__ import annotations

import gc
import importlib
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import command_server
import crash_worker
import enhancer_process
import fork_processes
import torch
import up_command
from child_signals import restore

from executors import language
from executors.models.base import ModelPaths
from executors.shelf import Shelf
from ourvidz.cli.main import main as command


def main(models: str, fd: str) -> None:
    command_server.imports(models=True)
    importlib.import_module("executors.orchestrator.main")
    torch.set_num_threads(1)  # a forked child has only the forking thread: there must be no thread pool
    shelf, slow = Shelf(Path(models)), enhancer_process.Slow(ModelPaths(Path(models)))
    for lane in ("sdxl", "wan"):
        shelf.family(lane)
    shelf.enhancer()
    slow.load()
    language.ready()
    assert threading.active_count() == 1, "what is forked would miss the other threads"
    gc.collect()
    gc.freeze()  # keeps shared pages shared
    programs: dict[str, Callable[..., object]] = {
        "executor": partial(crash_worker.executor, shelf),
        "enhancer": partial(enhancer_process.serve, slow),
        "command": command,
        "up": partial(up_command.run, fork=True),
    }
    asked = fork_processes.serve(socket.socket(fileno=int(fd)))
    fork_processes.run(lambda: programs[asked["kind"]](**asked["spec"]))


if __name__ == "__main__":
    restore()
    main(*sys.argv[1:])
