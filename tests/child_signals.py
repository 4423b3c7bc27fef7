"""Restore default signal handling in the tests' child processes.

A suite started in the background or under nohup ignores some signals; its children inherit that and would miss the ones tests send.
"""

from __future__ import annotations

import signal
from pathlib import Path

RESTORE = f"import sys; sys.path.append({str(Path(__file__).parent)!r}); from child_signals import restore; restore(); "
"""First line of a child program that is passed as text."""


def restore() -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
