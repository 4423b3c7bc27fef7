"""A fork server of the command: it imports what `ourvidz` imports once, and forks a process for each command that a test runs.

`python command_server.py SOCKET MODELS`: with MODELS not empty, the model libraries too. A request is a line of JSON: `args`, `env`, `cwd`,
and the files of stdin, stdout and stderr. The answer is a line with the process's number, and one with its exit status once it has ended.
The process is a real one: it gets its arguments, environment and files, runs `main()` from the top, and ends as any interpreter does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import socket
import sys
from typing import Any

from child_signals import restore


def imports(*, models: bool) -> None:
    import ourvidz

    if models:
        from executors import libraries

        libraries.import_all(["sdxl", "wan"])
    for module in pkgutil.walk_packages(ourvidz.__path__, "ourvidz."):
        importlib.import_module(module.name)


def become(asked: dict[str, Any]) -> None:
    """This process is from now on as if it had been started so."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        made = os.open(asked[name], os.O_RDONLY if number == 0 else os.O_WRONLY)
        os.dup2(made, number)
        os.close(made)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv[1:] = asked["args"]


def serve(path: str) -> None:
    """Returns in each process that is to run a command."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    print("ready", flush=True)
    parent = os.getppid()
    listening.settimeout(1)
    while os.getppid() == parent:
        try:
            peer, _ = listening.accept()
        except TimeoutError:
            continue
        if (keeper := os.fork()) == 0:  # it forks the command, and answers when that has ended
            listening.close()
            peer.settimeout(None)
            with peer.makefile("rw") as line:
                asked = json.loads(line.readline())
                pid = os.fork()
                if pid:
                    print(pid, file=line, flush=True)
                    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=line, flush=True)
                    os._exit(0)
            peer.close()
            return become(asked)
        peer.close()
        _reap(keeper)
    os._exit(0)


_keepers: set[int] = set()


def _reap(new: int) -> None:
    _keepers.add(new)
    for pid in list(_keepers):
        if os.waitpid(pid, os.WNOHANG)[0]:
            _keepers.discard(pid)


if __name__ == "__main__":
    restore()
    socket_path, with_models = sys.argv[1:3]
    del sys.argv[1:]
    imports(models=bool(with_models))
    gc.collect()
    gc.freeze()
    serve(socket_path)
    from ourvidz.cli.main import main

    main()
