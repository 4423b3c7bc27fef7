"""Client of the enhancer process, with the interface of `executors.enhance.Enhancer`. Thread-safe: one connection per request."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.enhancer import wire
from executors.errors import EnhancementFailed, EnhancerAway, OutOfMemory
from ourvidz.safety.screen import ScreenUnavailable, Verdict

if TYPE_CHECKING:
    from executors.enhance import Enhanced

LOOK = 0.1  # seconds between two checks whether the job is still wanted
CONNECT = 2.0  # seconds; the server is on this machine, and answers while its model runs
GRACE = 5.0  # seconds that the server may take beyond the deadline to report it
SILENCE = 20.0  # seconds without a sign of life (four a second are sent): it hangs, or was stopped

_AWAY = ("refused", "enhancer_busy", "enhancer_away", "unexpected")
"""Failures that are not the prompt's fault: another enhancer may succeed."""


class RemoteEnhancer:
    on_device = False

    def __init__(self, address: Path, *, only: bool = False, silence: float = SILENCE, clock: Callable[[], float] = time.monotonic) -> None:
        """`only`: the caller must use this enhancer, never a model of its own."""
        self.only = only
        self.address, self._silence, self._clock = address, silence, clock

    def describe(self) -> dict[str, Any]:
        """Return the server's description of its model. Raises `EnhancerAway`."""
        with self._asked(ping=True) as lines:
            for told in lines(CONNECT, lambda: None):
                if "about" in told:
                    return dict(told["about"])
                raise EnhancerAway(f"the enhancer at {self.address} refused: {told.get('message')}")
        raise EnhancerAway(f"the enhancer at {self.address} did not answer")

    def there(self) -> bool:
        try:
            self.describe()
        except EnhancerAway:
            return False
        return True

    def enhance(self, prompt: str, family: str, *, deadline_s: float, should_stop: Callable[[], None]) -> Enhanced:
        """As `Enhancer.enhance`, except that `deadline_s` counts from now, including the wait in the queue, and `should_stop` is called ten
        times a second. Raises `EnhancerAway` when the server is absent, dies, hangs or is busy."""
        from executors.enhance import Enhanced

        with self._asked(prompt=prompt, family=family, deadline_s=deadline_s) as lines:
            for told in lines(deadline_s + GRACE, should_stop):
                if "text" in told:
                    return Enhanced(told["text"], told["seconds"], told["tokens"], told["note"])
                if "failed" in told:
                    raise _error(told["failed"], str(told.get("message")), str(told.get("reason", "")))
        raise EnhancerAway(f"the enhancer at {self.address} went away in the middle")

    def judge(self, text: str, *, negative: bool = False, deadline_s: float, should_stop: Callable[[], None]) -> Verdict:
        """Return the guard's verdict by the enhancer's model. Raises `EnhancerAway` as `enhance`, `ScreenUnavailable` without an answer."""
        with self._asked(prompt=text, negative=negative, deadline_s=deadline_s) as lines:
            for told in lines(deadline_s + GRACE, should_stop):
                if "verdict" in told:
                    return Verdict(**told["verdict"])
                if told.get("failed") in _AWAY:
                    raise EnhancerAway(str(told.get("message")))
                if "failed" in told:
                    raise ScreenUnavailable(f"the guard could not answer ({told['failed']}); the job does not run")
        raise EnhancerAway(f"the enhancer at {self.address} went away in the middle")

    @contextmanager
    def _asked(self, **request: Any) -> Iterator[Callable[[float, Callable[[], None]], Iterator[dict[str, Any]]]]:
        """Send a request; yield a function that reads its answers. Leaving closes the connection, which cancels the request."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wired:
            wired.settimeout(CONNECT)
            try:
                wired.connect(str(self.address))
                wired.sendall(wire.encode({"key": wire.read_key(self.address), **request}))
            except (OSError, ValueError) as error:
                raise EnhancerAway(f"there is no enhancer at {self.address} ({error})") from error
            wired.settimeout(LOOK)
            yield lambda limit, should_stop: self._lines(wired, limit, should_stop)

    def _lines(self, wired: socket.socket, limit: float, should_stop: Callable[[], None]) -> Iterator[dict[str, Any]]:
        """Yield each line of the answer, until the server closes."""
        rest, heard = b"", self._clock()
        until = heard + limit
        while True:
            should_stop()
            now = self._clock()
            if now - heard > self._silence:
                raise EnhancerAway(f"the enhancer at {self.address} said nothing for {now - heard:.0f} s: it hangs, or was stopped")
            if now > until:
                raise EnhancerAway(f"the enhancer at {self.address} gave no answer in {limit:g} s: its model hangs")
            with contextlib.suppress(TimeoutError):
                try:
                    data = wired.recv(65_536)
                except ConnectionError as error:
                    raise EnhancerAway(f"the enhancer at {self.address} died ({error})") from error
                if not data:
                    return
                heard, rest = now, rest + data
                *whole, rest = rest.split(b"\n")
                if len(rest) > wire.LONGEST:
                    raise EnhancerAway(f"what answers at {self.address} is no enhancer")
                for line in whole:
                    yield _decoded(line, self.address)


def _decoded(line: bytes, address: Path) -> dict[str, Any]:
    try:
        return wire.decode(line)
    except wire.BadLine as error:
        raise EnhancerAway(f"what answers at {address} is no enhancer ({error})") from error


def _error(kind: str, message: str, reason: str) -> Exception:
    if kind in _AWAY:
        return EnhancerAway(message)
    return OutOfMemory(message) if kind == OutOfMemory.error_class else EnhancementFailed(message, reason)


def remote(chosen: str, home: Path) -> RemoteEnhancer | None:
    """Interpret `OURVIDZ_ENHANCER`: `off`: none; a path: that socket and no local model; `auto`: this home's socket, if it answers."""
    return None if chosen == wire.OFF else RemoteEnhancer(wire.address(home, chosen), only=chosen != wire.AUTO)
