"""Fork server for the command: imports `ourvidz` once and forks a process for each command that a test runs.

`python command_server.py FOLDER MODELS` listens on FOLDER/socket; a non-empty MODELS also imports the model libraries. A request is a line
of JSON: `args`, `env`, `cwd`, and the files for stdin, stdout and stderr. The reply is a line with the pid, and a second one with the exit
status when the process has ended. The process gets its own arguments, environment and files, runs `main()` from the top, and exits as
`main()` does.

Test processes share a server. Each keeps a connection open on which it sent `hold`; when the last of these closes, the server removes
FOLDER and exits.
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
    from ourvidz.db import schema_objects
    from ourvidz.safety import lexical, negative

    main.app = get_command(main.app)  # `app()` does this at each call, for 100 commands and their options
    # Files of the package, cached per process.
    schema_objects.objects()
    lexical.own_rules(lexical.TERMS, None)
    lexical.own_rules(negative.FOLDER, lexical.TERMS)


def become(asked: dict[str, Any]) -> None:
    """Turn this process into one started with these arguments, environment, folder and files."""
    for number, name in enumerate(STREAMS):
        os.dup2(asked[name], number)
        os.close(asked[name])
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]  # as an interpreter does at startup
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv[1:] = asked["args"]


def serve(folder: str) -> None:
    """Serve until no holder is left. Returns only in a forked process that is to run a command."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.path.join(folder, "socket"))  # noqa: PTH118
    listening.listen(64)
    print("ready", flush=True)
    holding: list[socket.socket] = []
    while True:
        ready, _, _ = select.select([listening, *holding], [], [], None if holding else 60)  # its starter may be killed before it holds
        for peer in [one for one in holding if one in ready]:  # readable means closed: holders send nothing more
            holding.remove(peer)
            peer.close()
        if listening in ready:
            peer, _ = listening.accept()
            line = peer.makefile("rw")
            if (asked := line.readline()) == "hold\n":
                holding.append(peer)
                print("held", file=line, flush=True)
            elif asked and (keeper := os.fork()) == 0:  # the keeper forks the command and replies when it has ended
                listening.close()
                command = json.loads(asked)
                for name in STREAMS:  # before the reply: a terminal vanishes once its other side is closed
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
