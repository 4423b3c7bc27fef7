"""Enhancers in separate processes, and the log of their actions (enhancer_process.py)."""

from __future__ import annotations

import os
from pathlib import Path

from executor_site import Zygote
from waiting import wait_for

PROMPT, SLOW = "a woman walking", "slowly, a woman walking"


def nothing() -> None:
    return None


class Served:
    """An enhancer process and its log."""

    def __init__(self, zygote: Zygote, socket: Path, **more: int | str) -> None:
        self.socket = socket
        out = socket.with_suffix(".out")
        out.unlink(missing_ok=True)
        self._process = zygote.start("enhancer", socket=str(socket), out=str(out), **more)
        wait_for(out.exists)
        self._out = out.open()
        self._rest = ""

    def line(self) -> str:
        def more() -> bool:
            self._rest += self._out.readline()
            return self._rest.endswith("\n")

        wait_for(more, "for a word of the enhancer")
        line, self._rest = self._rest.strip(), ""
        return line

    def skip(self) -> None:
        """Skip everything logged so far."""
        self._out.seek(0, os.SEEK_END)

    def wait(self, word: str) -> str:
        """Wait for the next line that starts with `word`."""
        while not (line := self.line()).startswith(word):
            pass
        return line

    def so_far(self) -> list[str]:
        """The lines written since the last read."""
        return [line.strip() for line in self._out.readlines()]

    def signal(self, number: int) -> None:
        self._process.signal(number)

    def exit_code(self) -> int:
        return self._process.wait()

    def end(self) -> None:
        self._process.kill()
        self.exit_code()
        self._out.close()
