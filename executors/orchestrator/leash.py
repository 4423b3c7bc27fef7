"""`python -I -S leash.py PARENT PROGRAM ARG …`: becomes PROGRAM, and dies with the process PARENT, however that one dies.

A program of its own, because what asks the kernel for it must run in the child: between fork and exec of a process with threads, Python
code may hang for ever. Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, argv: list[str]) -> None:
    if sys.platform == "linux":
        # SIGKILL, because a hung process would outlive anything else, and keep its name and its device's memory.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("the process that asked for this is gone")
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores these, and execve would hand that on
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
