"""Exit of the command's process: on its own, without freeing every object, and with all pending work done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_command import environment
from waiting import LIMIT

PROGRAM = """
import atexit, sys, tempfile, threading
from ourvidz.cli.main import main

def work():
    threading.main_thread().join()  # returns once the main thread has nothing left but to wait for this one
    print("the thread is done", flush=True)

folder = tempfile.TemporaryDirectory()  # removed by an exit function
atexit.register(print, "exit function")
class Left:
    def __del__(self):
        print("freed one by one")
left = Left()
if sys.argv[1] == "thread":
    threading.Thread(target=work).start()
print(folder.name)
sys.argv[1:] = ["--version"]
main()
"""


@pytest.mark.parametrize("threads", ["alone", "thread"])
def test_exit_functions_run_and_threads_are_waited_for(threads: str, tmp_path: Path) -> None:
    args = [sys.executable, "-c", PROGRAM, threads]
    ended = subprocess.run(args, capture_output=True, text=True, timeout=LIMIT, env=environment(tmp_path / "home"), check=True)
    folder, version, *rest = ended.stdout.splitlines()
    assert version.startswith("ourvidz ") and not Path(folder).exists() and ended.stderr == ""
    assert rest == (["the thread is done", "exit function", "freed one by one"] if threads == "thread" else ["exit function"])
