"""`python -I -S leash.py PARENT PROGRAM ARG …`: exec PROGRAM, which is killed when the process PARENT dies in any way.

A separate program because the prctl call must run in the child: between fork and exec of a process with threads, Python code may hang
forever. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    if sys.platform == "linux":
        # SIGKILL, because a hung process would survive any other signal, and keep its executor name and device memory.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the process that asked for this is gone")
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and execve would pass that on
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
