"""Signals as a program in a terminal has them, for the tests' own child processes.

A suite that was started in the background or under nohup ignores some, its children inherit that, and what a test sends them is lost.
"""

from __future__ import annotations

import signal
from pathlib import Path

RESTORE = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); from child_signals import restore; restore(); "
"""What a child's program begins with, where it is a text."""


def restore() -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
