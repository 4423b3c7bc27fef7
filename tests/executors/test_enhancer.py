"""The enhancer in a separate process: the same texts as in-process; server and clients notice each other's failures."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket as sockets
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from enhancer_site import PROMPT, SLOW, Served, nothing
from executor_site import Zygote
from trained_guard import STANDIN, taught
from waiting import LIMIT, wait_for

from executors.enhance import Enhancer
from executors.enhancer import wire
from executors.enhancer.client import RemoteEnhancer, remote
from executors.enhancer.server import _Request, _told
from executors.errors import Cancelled, EnhancementFailed, EnhancerAway
from executors.guard_model import policy
from executors.models.base import ModelPaths
from ourvidz.safety.screen import ScreenUnavailable, Verdict


@pytest.fixture(scope="module")
def served(enhancer_folder: Path, zygote: Zygote) -> Iterator[Served]:
    """One server for all tests that do not harm it."""
    made = Served(zygote, enhancer_folder / "enhancer.sock")
    made.wait("ready")
    yield made
    made.end()


@pytest.fixture(scope="module")
def local(tiny_root: Path) -> Enhancer:
    return Enhancer(ModelPaths(tiny_root))


def ask(address: Path, prompt: str = PROMPT, deadline: float = 60, stop: Callable[[], None] = nothing, **more: Any) -> Any:
    return RemoteEnhancer(address, **more).enhance(prompt, "wan", deadline_s=deadline, should_stop=stop)


class Asking(threading.Thread):
    """Asks in a thread; `answer` is the result or the exception."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(daemon=True)
        self._ask = lambda: ask(*arguments, **more)
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._ask()
        except Exception as error:
            self.answer = error

    def result(self) -> Any:
        self.join(LIMIT)
        assert not self.is_alive()
        return self.answer


# -- texts ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["wan", "wan_image", "sdxl"])
@pytest.mark.parametrize("prompt", [PROMPT, "zwei Tänzer 😀", "é" * 4_000], ids=["plain", "unicode", "at the limit"])
def test_the_same_text_as_in_this_process(served: Served, local: Enhancer, family: str, prompt: str) -> None:
    far = RemoteEnhancer(served.socket).enhance(prompt, family, deadline_s=60, should_stop=nothing)
    near = local.enhance(prompt, family, deadline_s=60, should_stop=nothing)
    assert (far.text, far.tokens, far.note) == (near.text, near.tokens, near.note)
    assert far.seconds > 0


def test_it_says_which_model_it_has_and_where_it_runs(served: Served, local: Enhancer) -> None:
    far = RemoteEnhancer(served.socket)
    assert far.describe() == local.describe()
    assert far.there() and not far.on_device and local.on_device


def test_concurrent_requests_are_served_in_turn(served: Served, local: Enhancer) -> None:
    prompts = ["slowly, two dancers on a stage", "neon city, night, fog", "portrait of a sailor", PROMPT]
    asking = [Asking(served.socket, prompt) for prompt in prompts]
    for prompt, thread in zip(prompts, asking, strict=True):
        assert thread.result().text == local.enhance(prompt, "wan", deadline_s=60, should_stop=nothing).text


# -- limits -----------------------------------------------------------------------------------------------------------------------


def test_over_the_deadline_it_fails_and_serves_the_next(served: Served) -> None:
    with pytest.raises(EnhancementFailed, match="took over") as failed:
        ask(served.socket, SLOW, deadline=0.5)
    assert not isinstance(failed.value, EnhancerAway)  # the model was too slow for this prompt, in any process
    assert failed.value.reason == "time_limit"  # the reason code for the job's event crosses the socket
    assert ask(served.socket).tokens > 20


def test_queue_time_counts_towards_the_deadline(served: Served) -> None:
    served.skip()
    first = Asking(served.socket, SLOW)
    served.wait("token")
    with pytest.raises(EnhancementFailed, match=r"others had the enhancer for all of its 0\.3 s"):
        ask(served.socket, PROMPT, deadline=0.3)
    assert "let go" not in served.so_far()  # answered at the deadline, not when its turn came
    assert first.result().tokens > 20


def test_a_cancel_stops_the_server_within_a_token(served: Served) -> None:
    wanted = threading.Event()

    def stop() -> None:
        if wanted.is_set():
            raise Cancelled

    served.skip()
    asking = Asking(served.socket, SLOW, stop=stop)
    served.wait("token")
    wanted.set()
    assert isinstance(asking.result(), Cancelled)
    seen = []
    while (line := served.line()) != "let go":
        seen.append(line)
    assert seen.count("token") < 25  # of 38: those before the cancel, and the one during which it was noticed
    assert ask(served.socket).tokens > 20


def test_a_full_queue_refuses_new_requests(an_enhancer: Callable[..., Served]) -> None:
    server = an_enhancer(waiting=2)
    first = Asking(server.socket, SLOW)
    server.wait("token")
    for _ in range(3):  # a client that leaves frees its place
        with pytest.raises(EnhancementFailed, match="others had"):
            ask(server.socket, deadline=0.05)
    with sockets.socket(sockets.AF_UNIX) as second:
        second.settimeout(20)
        second.connect(str(server.socket))
        asked = {"key": wire.read_key(server.socket), "prompt": PROMPT, "family": "wan", "deadline_s": 60}
        second.sendall(wire.encode(asked))
        lines = second.makefile("rb")
        assert wire.decode(lines.readline()) == {"waiting": 1}
        with pytest.raises(EnhancerAway, match="2 requests wait"):
            ask(server.socket)
        assert first.result().tokens > 20
        assert any("text" in wire.decode(line) for line in lines)  # each gets its turn


# -- crashes and hangs ------------------------------------------------------------------------------------------------------------


def test_a_kill_is_noticed_at_once_and_the_next_server_replaces_the_socket(an_enhancer: Callable[..., Served], local: Enhancer) -> None:
    server = an_enhancer()
    asking = Asking(server.socket, SLOW)
    server.wait("token")
    server.signal(signal.SIGKILL)
    error = asking.result()
    assert isinstance(error, EnhancerAway) and "went away in the middle" in str(error)
    server.exit_code()  # the stream ends before its last descriptor, the listening one, is closed
    assert server.socket.exists()  # it was not cleaned up,
    with pytest.raises(EnhancerAway, match="there is no enhancer"):
        ask(server.socket)
    an_enhancer()  # and the next server replaces it
    assert ask(server.socket).text == local.enhance(PROMPT, "wan", deadline_s=60, should_stop=nothing).text


def test_clients_give_up_on_a_stopped_server(an_enhancer: Callable[..., Served]) -> None:
    server = an_enhancer()
    asking = Asking(server.socket, SLOW, silence=0.6)
    server.wait("token")
    server.signal(signal.SIGSTOP)
    error = asking.result()
    assert isinstance(error, EnhancerAway) and "said nothing" in str(error)
    server.signal(signal.SIGCONT)
    server.wait("let go")  # it notices that its client has gone
    assert ask(server.socket).tokens > 20


def test_a_hung_model_exceeds_the_limit_and_stops_the_pulse(an_enhancer: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.enhancer.client.GRACE", 1.0)
    server = an_enhancer()
    asking = Asking(server.socket, "hangs", deadline=0.5)
    server.wait("hangs")
    error = asking.result()
    assert isinstance(error, EnhancerAway) and "gave no answer in 1.5 s: its model hangs" in str(error)
    counts = [int(server.wait("pulses").split()[1]) for _ in range(12)]
    assert counts[-1] == counts[-4]  # no progress: a supervisor would replace it
    assert RemoteEnhancer(server.socket).there()  # although it still accepts connections


def test_sigterm_finishes_current_requests_and_accepts_no_more(an_enhancer: Callable[..., Served]) -> None:
    server = an_enhancer()
    asking = Asking(server.socket, SLOW)
    server.wait("token")
    server.signal(signal.SIGTERM)
    wait_for(lambda: not server.socket.exists(), "for the socket to go")
    assert not RemoteEnhancer(server.socket).there()
    assert asking.result().tokens > 20
    server.wait("left")
    assert server.exit_code() == 0


def test_a_second_sigterm_drops_current_requests(an_enhancer: Callable[..., Served]) -> None:
    server = an_enhancer()
    asking = Asking(server.socket, SLOW)
    server.wait("token")
    server.signal(signal.SIGTERM)
    wait_for(lambda: not server.socket.exists(), "for the socket to go")
    server.signal(signal.SIGTERM)
    assert isinstance(asking.result(), EnhancerAway)
    assert server.exit_code() == 0


# -- access -----------------------------------------------------------------------------------------------------------------------


def test_socket_and_key_are_accessible_to_the_owner_only(served: Served) -> None:
    for path in (served.socket, served.socket.with_suffix(".key")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_wrong_key_is_refused(served: Served, enhancer_folder: Path) -> None:
    other = enhancer_folder / "other.sock"
    other.symlink_to(served.socket)
    with pytest.raises(EnhancerAway, match=r"there is no enhancer at .*other\.key"):
        ask(other)
    wire.new_key(other)
    with pytest.raises(EnhancerAway, match="another key"):
        ask(other)
    assert not RemoteEnhancer(other).there()
    assert ask(served.socket).tokens > 20


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b"{}\n", b"x" * (2 * wire.LONGEST), b'{"key": null}\n'],
    ids=["nothing", "http", "a list", "no key", "endless", "null"],
)
def test_invalid_requests_are_refused(served: Served, sent: bytes) -> None:
    with sockets.socket(sockets.AF_UNIX) as stranger:
        stranger.settimeout(20)
        stranger.connect(str(served.socket))
        try:
            stranger.sendall(sent)
            stranger.shutdown(sockets.SHUT_WR)
            answer = stranger.recv(65_536)
        except ConnectionError:
            answer = b""  # it closed while we were still sending
    assert answer == b"" or json.loads(answer)["failed"] in ("refused", "bad_request")
    assert ask(served.socket).tokens > 20


def test_unknown_families_are_refused(served: Served) -> None:
    with pytest.raises(EnhancementFailed, match="no request"):
        RemoteEnhancer(served.socket).enhance(PROMPT, "opera", deadline_s=60, should_stop=nothing)


def test_a_second_server_exits(served: Served, zygote: Zygote, enhancer_folder: Path) -> None:
    (enhancer_folder / "twin").mkdir()
    twin = enhancer_folder / "twin" / "enhancer.sock"
    twin.with_suffix(".lock").symlink_to(served.socket.with_suffix(".lock"))
    twin.symlink_to(served.socket)
    second = Served(zygote, twin)
    assert second.exit_code() != 0
    assert twin.exists()  # it removed nothing
    assert ask(served.socket).tokens > 20


# -- socket location --------------------------------------------------------------------------------------------------------------


def test_the_sockets_default_location(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    home.mkdir()
    assert wire.address(Path("/home/ada/.ourvidz")) == Path("/home/ada/.ourvidz/enhancer.sock")
    far = wire.address(home)
    assert far.parent.parent == Path("/tmp") and len(os.fsencode(far)) <= wire.ADDRESS_MAX
    (tmp_path / "link").symlink_to(home)
    assert wire.address(tmp_path / "link" / ".." / home.name) == far
    assert wire.address(home, "/run/enhancer.sock") == Path("/run/enhancer.sock")
    assert remote("off", home) is None
    chosen = remote("/run/enhancer.sock", home)
    assert chosen is not None and chosen.address == Path("/run/enhancer.sock")


def test_a_folder_accessible_to_others_is_not_used(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ourvidz-enhancer-"))
    wire.make_private(folder)
    try:
        folder.chmod(0o755)
        with pytest.raises(PermissionError, match="in the way"):
            wire.make_private(folder)
    finally:
        folder.rmdir()


def test_a_request_without_a_family_is_a_guard_request(served: Served) -> None:
    """The tiny model was not trained to answer with a letter: reported as such over the socket, and nothing is allowed."""
    with pytest.raises(ScreenUnavailable, match="screen_unavailable"):
        RemoteEnhancer(served.socket).judge("a quiet harbour", deadline_s=60, should_stop=nothing)


@pytest.mark.parametrize(("text", "allowed"), [("a quiet harbour at dusk", True), (f"a quiet {STANDIN} at dusk", False)])
def test_verdicts_cross_the_socket_unchanged(taught_qwen: Path, text: str, allowed: bool) -> None:

    async def told() -> dict[str, Any]:
        made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        made.set_result(_Request(taught(taught_qwen), {"prompt": text, "deadline_s": 60}).run())  # type: ignore[arg-type]
        return _told(made)

    verdict = Verdict(**wire.decode(wire.encode(asyncio.run(told())))["verdict"])
    assert (verdict.allowed, verdict.policy_version) == (allowed, policy().version)
