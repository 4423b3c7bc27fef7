"""Serve one model to many executors: one request at a time, first come first served, a short queue, a deadline for each request.

The event loop has the connections; the single thread of its pool has the model. So a client that disconnects is noticed while the model
works, and the model stops at its next token.
"""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from executors.enhance import Enhanced
from executors.enhancer import wire
from executors.errors import EnhancementFailed, ExecutorError
from executors.guard_model import Guard
from executors.talk import styles
from ourvidz.safety.screen import ScreenUnavailable, Verdict

if TYPE_CHECKING:
    import torch

log = logging.getLogger("ourvidz.enhancer")

WAITING = 8  # maximum requests, including the running one; further clients get `enhancer_busy`
PATIENCE = 5.0  # seconds for a client to send its request, or to receive an answer


class Model(Protocol):
    """The part of `executors.enhance.Enhancer` that the server uses."""

    def enhance(self, prompt: str, family: str, *, deadline_s: float, should_stop: Callable[[], None]) -> Enhanced: ...
    def answer(self, turns: list[dict[str, str]]) -> torch.Tensor: ...
    def token(self, text: str) -> int: ...
    def describe(self) -> dict[str, Any]: ...


class EnhancerAlready(Exception):
    """Another enhancer serves this socket."""


class _Gone(Exception):
    """The client has disconnected."""


class _Request:
    """One prompt for the model's thread: to enhance for a `family`, or, without a family, to judge."""

    def __init__(self, model: Model, asked: dict[str, Any]) -> None:
        self._model, self.prompt, self.family = model, str(asked["prompt"]), asked.get("family")
        self.negative = bool(asked.get("negative"))
        self._limit = float(asked["deadline_s"])
        self._until = time.monotonic() + self._limit
        self.gone = threading.Event()
        self.started = False
        self.tokens = 0
        if self.family is not None and self.family not in styles():
            raise KeyError(self.family)

    @property
    def left(self) -> float:
        """Seconds left of its limit, which includes the wait in the queue."""
        return self._until - time.monotonic()

    def run(self) -> Enhanced | Verdict:
        self.started = True
        self._stop_if_gone()
        if self.left <= 0:
            raise self.too_late()
        if self.family is None:
            return Guard(self._model).check(self.prompt, negative=self.negative)
        return self._model.enhance(self.prompt, self.family, deadline_s=self.left, should_stop=self._each_token)

    def too_late(self) -> EnhancementFailed:
        return EnhancementFailed(f"others had the enhancer for all of its {self._limit:g} s", "time_limit")

    def _each_token(self) -> None:
        self._stop_if_gone()
        self.tokens += 1

    def _stop_if_gone(self) -> None:
        if self.gone.is_set():
            raise _Gone


class Server:
    """The server. Calls `pulse` about every `BEAT` seconds, unless the model's thread has made no token for over `stall` seconds."""

    def __init__(
        self, model: Model, socket: Path, *, waiting: int = WAITING, stall: float = 60.0, pulse: Callable[[], object] = lambda: None
    ) -> None:
        self._model, self.socket, self._most, self._stall, self._pulse = model, socket, waiting, stall, pulse
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._requests: list[_Request] = []
        self._key = ""
        self._stops = 0
        self._progress: tuple[object, float] = None, 0.0

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until SIGTERM or SIGINT: then finish the running and waiting requests; a second signal ends them at the next token."""
        with _alone(self.socket):
            asyncio.run(self._serve(ready))

    async def _serve(self, ready: Callable[[], None]) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, stop)
        self._key = wire.new_key(self.socket)
        mask = os.umask(0o177)
        try:
            # This call removes a socket left by a dead enhancer. It is not in use: we hold the lock.
            server = await asyncio.start_unix_server(self._client, path=self.socket, limit=wire.LONGEST)
        finally:
            os.umask(mask)
        ready()
        try:
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), wire.BEAT)
                self._beat()
            self.socket.unlink(missing_ok=True)  # no new clients: executors use their own model, or wait for the next server
            server.close()
            while self._requests:
                self._beat()
                await asyncio.sleep(wire.BEAT / 5)
        finally:
            self.socket.unlink(missing_ok=True)
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _told_to_stop(self, stop: asyncio.Event) -> None:
        self._stops += 1
        log.info("Leaving when %d requests are answered.", len(self._requests)) if self._stops == 1 else log.info("Leaving now.")
        if self._stops > 1:
            for request in self._requests:
                request.gone.set()
        stop.set()

    def _beat(self) -> None:
        running = next((r for r in self._requests if r.started), None)
        done, now = running and (running, running.tokens), time.monotonic()
        if done is None or done != self._progress[0]:
            self._progress = done, now
        if now - self._progress[1] <= self._stall:
            self._pulse()

    # -- one connection -------------------------------------------------------------------------------------------------------------

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                asked = wire.decode(await reader.readline())
            if not hmac.compare_digest(str(asked.get("key", "")), self._key):
                log.warning("Somebody without our key asked, and was refused.")
                await _say(writer, failed="refused", message="this enhancer has another key")
            elif "ping" in asked:
                await _say(writer, about=self._model.describe())
            elif len(self._requests) >= self._most:
                await _say(writer, failed="enhancer_busy", message=f"{len(self._requests)} requests wait for the enhancer already")
            else:
                await self._answer(_Request(self._model, asked), reader, writer)
        except (wire.BadLine, KeyError, ValueError, TypeError) as error:
            log.warning("A request that is none of ours: %s: %s", type(error).__name__, error)
            with suppress(OSError, TimeoutError):
                await _say(writer, failed="bad_request", message="that is no request")
        except (OSError, TimeoutError):
            pass  # the client disconnected or hangs: nothing to send
        finally:
            writer.close()

    async def _answer(self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._requests.append(request)
        running = self._pool.submit(request.run)
        made = asyncio.wrap_future(running)
        left = asyncio.create_task(reader.read(1))  # completes when the client disconnects
        try:
            while not made.done():
                pause = min(wire.BEAT, max(0.0, request.left)) if not request.started else wire.BEAT
                both: set[asyncio.Future[Any]] = {made, left}
                await asyncio.wait(both, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                if left.done():
                    log.info("Whoever asked has left after %d tokens.", request.tokens)
                    return
                if request.left <= 0 and running.cancel():  # it never ran
                    return await _say(writer, **_failed(request.too_late()))
                if not made.done():
                    ahead = self._requests.index(request)
                    await (_say(writer, tokens=request.tokens) if request.started else _say(writer, waiting=ahead))
            await _say(writer, **_told(made))
        finally:
            request.gone.set()
            left.cancel()
            if not running.cancel():
                with suppress(BaseException):  # reported above, if to anyone: here only wait until the model has stopped
                    await asyncio.shield(made)
            self._requests.remove(request)


def _told(made: asyncio.Future[Enhanced | Verdict]) -> dict[str, Any]:
    try:
        done = made.result()
    except _Gone:
        return {"failed": "enhancer_away", "message": "the enhancer was stopped"}
    except (ExecutorError, ScreenUnavailable) as error:
        return _failed(error)
    except Exception as error:
        log.exception("The model failed.")
        return {"failed": "unexpected", "message": f"the enhancer failed ({type(error).__name__}); its log says more"}
    if isinstance(done, Verdict):
        return {"verdict": asdict(done)}
    return {"text": done.text, "seconds": done.seconds, "tokens": done.tokens, "note": done.note}


def _failed(error: ExecutorError | ScreenUnavailable) -> dict[str, Any]:
    why = {"reason": error.reason} if isinstance(error, EnhancementFailed) else {}
    return {"failed": error.error_class, "message": str(error), **why}


async def _say(writer: asyncio.StreamWriter, **message: Any) -> None:
    writer.write(wire.encode(message))
    async with asyncio.timeout(PATIENCE):
        await writer.drain()


@contextmanager
def _alone(socket: Path) -> Iterator[None]:
    """Hold a lock that is released when its process dies, so that a stale socket can be told from one in use."""
    wire.make_private(socket.parent)
    with socket.with_suffix(".lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnhancerAlready(
                f"An enhancer serves {socket} already. Stop that one first, or give OURVIDZ_ENHANCER another path."
            ) from None
        yield
