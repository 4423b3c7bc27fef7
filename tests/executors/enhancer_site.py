"""Enhancers in processes of their own, and what they say of what they do (enhancer_process.py)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from waiting import LIMIT, wait_for

SCRIPT = Path(__file__).with_name("enhancer_process.py")
PROMPT, SLOW = "a woman walking", "slowly, a woman walking"


def nothing() -> None:
    return None


class Nursery:
    """The process that has the enhancer loaded, and forks servers."""

    def __init__(self, models: Path) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(SCRIPT), str(models)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._answer() == {"ready": True}

    def ask(self, **message: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery died"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(LIMIT)
        finally:
            self._process.kill()  # whatever it hangs in: a test that fails leaves nothing behind


class Served:
    """An enhancer's process, and the words that it wrote."""

    def __init__(self, nursery: Nursery, socket: Path, **more: int | str) -> None:
        self.socket, self._nursery = socket, nursery
        out = socket.with_suffix(".out")
        out.unlink(missing_ok=True)
        self.pid = nursery.ask(socket=str(socket), out=str(out), **more)["pid"]
        wait_for(out.exists)
        self._out = out.open()
        self._rest, self._code = "", None

    def line(self) -> str:
        def more() -> bool:
            self._rest += self._out.readline()
            return self._rest.endswith("\n")

        wait_for(more, "for a word of the enhancer")
        line, self._rest = self._rest.strip(), ""
        return line

    def skip(self) -> None:
        """Over all that it has said so far."""
        self._out.seek(0, os.SEEK_END)

    def wait(self, word: str) -> str:
        """The next line that begins with `word`."""
        while not (line := self.line()).startswith(word):
            pass
        return line

    def so_far(self) -> list[str]:
        """The lines that it has written since we last read."""
        return [line.strip() for line in self._out.readlines()]

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ended(self) -> int | None:
        if self._code is None:
            self._code = self._nursery.ask(poll=self.pid)["status"]
        return self._code

    def exit_code(self) -> int:
        wait_for(lambda: self.ended() is not None, "for the enhancer to leave")
        assert self._code is not None
        return self._code

    def end(self) -> None:
        if self.ended() is None:
            self.signal(signal.SIGKILL)
            self.exit_code()
        self._out.close()
