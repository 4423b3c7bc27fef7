"""A fork server of the command: it imports what `ourvidz` imports once, and forks a process for each command that a test runs.

`python command_server.py FOLDER MODELS` listens on FOLDER/socket; with MODELS not empty, it imports the model libraries too. A request is a
line of JSON: `args`, `env`, `cwd`, and the files of stdin, stdout and stderr. The answer is a line with the process's number, and one with
its exit status once it has ended. The process is a real one: it gets its arguments, environment and files, runs `main()` from the top, and
ends as `main()` does.

Test processes share a server. Each keeps a connection open on which it has said `hold`, and the server ends, and removes FOLDER, when the
last of these is closed.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import shutil
import socket
import sys
from typing import Any

from child_signals import restore

STREAMS = ("stdin", "stdout", "stderr")


def imports(*, models: bool) -> None:
    import ourvidz

    if models:
        from executors import libraries

        libraries.import_all(["sdxl", "wan"])
    for module in pkgutil.walk_packages(ourvidz.__path__, "ourvidz."):
        importlib.import_module(module.name)
    from typer.main import get_command

    from executors import provenance  # noqa: F401  (numpy, PyAV and c2pa, which `doctor` and `provenance` import)
    from ourvidz.cli import main
    from ourvidz.db import layer
    from ourvidz.safety import lexical, negative

    main.app = get_command(main.app)  # what `app()` makes of it first at each call: the 100 commands and their options
    # Read from files that come with the program, once in a process.
    layer.objects()
    lexical.own_rules(lexical.TERMS, None)
    lexical.own_rules(negative.FOLDER, lexical.TERMS)


def become(asked: dict[str, Any]) -> None:
    """This process is from now on as if it had been started so."""
    for number, name in enumerate(STREAMS):
        os.dup2(asked[name], number)
        os.close(asked[name])
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]  # as an interpreter sets it when it starts
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv[1:] = asked["args"]


def serve(folder: str) -> None:
    """Returns in each process that is to run a command."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.path.join(folder, "socket"))  # noqa: PTH118
    listening.listen(64)
    print("ready", flush=True)
    holding: list[socket.socket] = []
    while True:
        ready, _, _ = select.select([listening, *holding], [], [], None if holding else 60)  # who started it may be killed before it holds
        for peer in [one for one in holding if one in ready]:  # it says nothing more: this is its end
            holding.remove(peer)
            peer.close()
        if listening in ready:
            peer, _ = listening.accept()
            line = peer.makefile("rw")
            if (asked := line.readline()) == "hold\n":
                holding.append(peer)
                print("held", file=line, flush=True)
            elif asked and (keeper := os.fork()) == 0:  # it forks the command, and answers when that has ended
                listening.close()
                command = json.loads(asked)
                for name in STREAMS:  # before the answer: a terminal whose other side was closed is gone
                    command[name] = os.open(command[name], os.O_NOCTTY | (os.O_RDONLY if name == "stdin" else os.O_WRONLY))
                pid = os.fork()
                if pid:
                    for name in STREAMS:
                        os.close(command[name])
                    print(pid, file=line, flush=True)
                    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=line, flush=True)
                    os._exit(0)
                line.close()
                peer.close()
                for other in holding:
                    other.close()
                return become(command)
            elif asked:
                _reap(keeper)
                line.close()
                peer.close()
        elif not holding:
            break
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


_keepers: set[int] = set()


def _reap(new: int) -> None:
    _keepers.add(new)
    for pid in list(_keepers):
        if os.waitpid(pid, os.WNOHANG)[0]:
            _keepers.discard(pid)


if __name__ == "__main__":
    restore()
    its_folder, with_models = sys.argv[1:3]
    del sys.argv[1:]
    imports(models=bool(with_models))
    gc.collect()
    gc.freeze()
    serve(its_folder)
    from ourvidz.cli.main import main

    main()
