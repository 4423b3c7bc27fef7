"""Upstash's REST API in front of a real Valkey (https://upstash.com/docs/redis/features/restapi), with fault injection for tests.

Supported: `Authorization: Bearer`, POST / with a JSON array, /pipeline, /multi-exec, the path style /lpush/key with the body as last
argument, which the deployed edge function uses, and `Upstash-Encoding: base64`. No blocking commands, no transactions across requests.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from ourvidz.dev.valkey import HOST, Connection, ReplyError, Valkey

REFUSED = frozenset({
    "BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "SUBSCRIBE", "PSUBSCRIBE", "MONITOR", "MULTI",
    "EXEC", "DISCARD", "WATCH", "SELECT", "SHUTDOWN", "CONFIG", "DEBUG", "HELLO", "CLIENT", "QUIT", "RESET", "REPLICAOF", "SLAVEOF", "SAVE",
    "BGSAVE", "BGREWRITEAOF",
})  # fmt: skip
LARGEST = 1_000_000  # bytes in a request, as on Upstash's free plan


@dataclass
class Fault:
    """A fault for the next `times` requests that contain `command` ("*": any)."""

    command: str
    kind: str  # "lost_reply": done, never answered; "lost_request": neither; "error": `answer` instead; "slow": answered after `seconds`
    times: int
    seconds: float = 0.0
    answer: Refusal | None = None


@dataclass(frozen=True)
class Refusal:
    """An error of Upstash, which then executes nothing. `each`: returned for each command of a pipeline, with status 200, instead of for
    the whole request: Upstash does either."""

    status: int
    error: str
    retry_after: str = ""
    each: bool = False


# Upstash's wording (https://upstash.com/docs/redis/troubleshooting, and reports of its users).
MONTH_SPENT = (
    "ERR max requests limit exceeded. Limit: 500000, Usage: 500000. "
    "See https://upstash.com/docs/redis/troubleshooting/max_requests_limit for details"
)
DAY_SPENT = (
    "ERR max daily request limit exceeded. Limit: 10000, Usage: 10001. "
    "See https://upstash.com/docs/redis/troubleshooting/max_daily_request_limit for details"
)
TOO_LARGE = "ERR max request size exceeded. Limit: {limit} bytes, Actual: {size} bytes"


class UpstashFace:
    """Serves from threads of this process until `close`."""

    def __init__(self, valkey: Valkey, token: str, port: int = 0) -> None:
        self.valkey, self.token = valkey, token
        self.seen: list[list[str]] = []  # commands as they came, the first 1,000 characters of each argument
        self.away = False
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"face": self})
        self._server = _Server((HOST, port), handler)
        self.url = f"http://{HOST}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, name="upstash", daemon=True).start()

    def drop(self, command: str, times: int = 1, *, after: bool = True) -> None:
        """Leave the next `times` requests with `command` unanswered: after executing them, or (`after=False`) without."""
        self.fault(command, "lost_reply" if after else "lost_request", times)

    def fault(self, command: str, kind: str, times: int = 1, *, seconds: float = 0.0, answer: Refusal | None = None) -> None:
        with self._lock:
            self._faults.append(Fault(command.upper(), kind, times, seconds, answer))

    def answer(self, refusal: Refusal, times: int = 1, command: str = "*") -> None:
        """Refuse the next `times` requests with `command` and execute nothing."""
        self.fault(command, "error", times, answer=refusal)

    @contextlib.contextmanager
    def refuse(self) -> Iterator[None]:
        """Simulate an outage: close every connection without an answer."""
        self.away = True
        try:
            yield
        finally:
            self.away = False

    def reset(self) -> None:
        with self._lock:
            self._faults.clear()
            self.seen.clear()
        self.away = False

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, commands: list[list[Any]]) -> Fault | None:
        """Record the commands, and consume a fault that matches them."""
        with self._lock:
            self.seen += [[str(arg)[:1000] for arg in command] for command in commands]
            names = {str(command[0]).upper() for command in commands if command} | {"*"}
            for fault in self._faults:
                if fault.command in names:
                    fault.times -= 1
                    if fault.times == 0:
                        self._faults.remove(fault)
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet
    timeout = 60
    face: ClassVar[UpstashFace]
    connection_to_valkey: Connection | None = None

    def do_POST(self) -> None:
        face, url = self.face, urlsplit(self.path)
        query = parse_qsl(url.query, keep_blank_values=True)
        size = int(self.headers.get("Content-Length") or 0)
        if face.away or size > LARGEST:
            return self._hang_up() if face.away else self._answer(413, {"error": TOO_LARGE.format(limit=LARGEST, size=size)})
        body = self.rfile.read(size)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or dict(query).get("_token", "")
        if not hmac.compare_digest(token.encode(), face.token.encode()):
            return self._answer(401, {"error": "WRONGPASS invalid or missing auth token"})
        path = url.path.strip("/")
        commands = _commands(path, query, body)
        if commands is None:
            return self._answer(400, {"error": "ERR failed to parse request"})
        fault = face.take(commands)
        kind = fault.kind if fault else ""
        if kind == "lost_request":
            return self._hang_up()
        if kind == "error":
            refusal = fault.answer if fault and fault.answer else Refusal(500, "ERR internal error")
            said = {"error": refusal.error}
            several = refusal.each and path == "pipeline"
            return self._answer(200 if several else refusal.status, [said] * len(commands) if several else said, refusal.retry_after)
        try:
            code, answer = self._run(path, commands)
        except OSError as error:
            self._forget()
            code, answer = 503, {"error": f"ERR the database does not answer ({type(error).__name__})"}
        if fault and kind == "slow":
            time.sleep(fault.seconds)
        return self._hang_up() if kind == "lost_reply" else self._answer(code, answer)

    do_GET = do_PUT = do_HEAD = do_POST

    def _run(self, path: str, commands: list[list[Any]]) -> tuple[int, Any]:
        if path == "pipeline":
            return 200, [self._one(command) for command in commands]
        if path == "multi-exec":
            return self._transaction(commands)
        answer = self._one(commands[0])
        return (400 if "error" in answer else 200), answer

    def _one(self, command: list[Any]) -> dict[str, Any]:
        if not command:
            return {"error": "ERR empty command"}
        if str(command[0]).upper() in REFUSED:
            return {"error": f"ERR Command is not available: '{command[0]}'. See https://upstash.com/docs/redis/overall/rediscompatibility"}
        return self._shown(self._valkey.call(*map(_bytes, command)))

    def _transaction(self, commands: list[list[Any]]) -> tuple[int, Any]:
        self._valkey.call(b"MULTI")
        errors = [answer["error"] for answer in map(self._one, commands) if "error" in answer]
        if errors:
            self._valkey.call(b"DISCARD")
            return 400, {"error": f"EXECABORT Transaction discarded because of: {errors[0]}"}
        return 200, [self._shown(answer) for answer in self._valkey.call(b"EXEC")]

    def _shown(self, answer: Any) -> dict[str, Any]:
        return {"error": str(answer)} if isinstance(answer, ReplyError) else {"result": self._value(answer)}

    def _value(self, answer: Any) -> Any:
        if isinstance(answer, list):
            return [self._value(item) for item in answer]
        if not isinstance(answer, str | bytes) or answer == "OK":
            return answer
        raw = answer.encode() if isinstance(answer, str) else answer
        return base64.b64encode(raw).decode() if self.headers.get("Upstash-Encoding") == "base64" else raw.decode("utf-8", "replace")

    @property
    def _valkey(self) -> Connection:
        if self.connection_to_valkey is None:
            self.connection_to_valkey = self.face.valkey.connect()
        return self.connection_to_valkey

    def _forget(self) -> None:
        if self.connection_to_valkey is not None:
            self.connection_to_valkey.close()
        self.connection_to_valkey = None

    def _answer(self, code: int, value: Any, retry_after: str = "") -> None:
        data = json.dumps(value).encode()
        if code == 200 and len(data) > LARGEST:  # the limit also holds for responses
            code, data = 413, json.dumps({"error": TOO_LARGE.format(limit=LARGEST, size=len(data))}).encode()
        self.send_response(code)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code == 413:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else data)

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        self._forget()
        with contextlib.suppress(OSError):  # the client may be gone
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a path can hold a token or a prompt."""


def _commands(path: str, query: list[tuple[str, str]], body: bytes) -> list[list[Any]] | None:
    """Parse a request into commands; None if it is malformed."""
    if path not in ("", "pipeline", "multi-exec"):
        last = [body] if body else []
        more = [word for name, value in query if name != "_token" for word in ((name, value) if value else (name,))]
        return [[*map(unquote, path.split("/")), *last, *more]]
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    commands = [found] if path == "" else found
    return commands if isinstance(commands, list) and all(isinstance(command, list) for command in commands) else None


def _bytes(value: Any) -> bytes:
    """Encode an argument: numbers and structures as JSON; a lone surrogate becomes U+FFFD, since UTF-8 has none."""
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
