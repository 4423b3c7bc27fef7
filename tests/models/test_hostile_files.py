"""Hostile images, and the decoder process that handles them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import hostile_files
import pytest
from waiting import LIMIT

from executors import decoder, reference_files
from executors.errors import BadReference, ExecutorError, ReferenceAway
from executors.reference_files import load_reference

FILES = hostile_files.files()


def test_the_list_is_long() -> None:
    assert len(FILES) >= 20


@pytest.fixture(scope="module")
def found() -> Any:
    """Each file's outcome and the decoders' peak memory, from a separate process: a child's peak includes its parent's size at the fork."""
    environment = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    told = subprocess.run([sys.executable, hostile_files.__file__], capture_output=True, timeout=LIMIT, check=True, env=environment)
    return json.loads(told.stdout)


@pytest.mark.parametrize("name", FILES)
def test_each_is_refused_or_decoded_to_an_image(name: str, found: Any) -> None:
    outcome, became = FILES[name][1], found["became"][name]
    if isinstance(outcome, str):
        assert isinstance(became, str) and re.search(outcome, became)
        assert became.isprintable() and len(became) < 500
    else:
        assert became == list(outcome)


def test_decoders_stay_within_their_memory_limit(found: Any) -> None:
    """The largest image that is allowed needs more than any of these may ever use."""
    assert found["peak"] < 256 << 20 < decoder.MEMORY


def test_a_jpeg_of_ten_thousand_scans_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "CPU", 1)
    with pytest.raises(BadReference, match="over 1 seconds to decode"):
        load_reference(hostile_files.scans(10_000, (4_000, 4_000)))


def test_exceeding_the_memory_limit_is_blamed_on_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "MEMORY", 160 << 20)
    with pytest.raises(BadReference, match=r"too much memory|damaged"):
        load_reference(hostile_files.encoded("PNG", "RGBA", (5_000, 5_000)))


# -- the process -------------------------------------------------------------------------------------------------------------------------


def sealed(code: str) -> list[str]:
    """Output of `code` in a process sealed like a decoder."""
    head = f"""
        import sys
        sys.path += [{reference_files._COMMAND[5]!r}, {str(Path(decoder.__file__).parents[1])!r}]
        import os, resource, socket
        from executors import decoder
        def attempt(what):
            try:
                what()
            except (OSError, MemoryError) as error:
                print(type(error).__name__, getattr(error, "strerror", ""))
            else:
                print("done")
        decoder.seal()
    """
    program = textwrap.dedent(head) + textwrap.dedent(code)
    ran = subprocess.run(
        [*reference_files._COMMAND[:4], "-c", program],
        env=reference_files._ENVIRONMENT,
        capture_output=True,
        timeout=LIMIT,
        text=True,
        cwd="/",
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize(
    "what",
    [
        "open('/etc/passwd')",
        "open('/dev/null', 'w')",
        "os.pipe()",
        "os.dup(0)",
        "os.listdir('/')",
        "socket.socket()",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX)",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)) or open('/etc/passwd')",
        "os.close(0) or socket.socket()",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_a_decoder_can_open_nothing(what: str) -> None:
    (said,) = (
        sealed(f"attempt(lambda: {what})") if "setrlimit" not in what else sealed(f"try: {what}\nexcept (OSError, ValueError): print('no')")
    )
    assert said in ("OSError Too many open files", "OSError Invalid argument", "PermissionError Operation not permitted", "no")


def test_a_decoder_has_a_bounded_memory_and_time() -> None:
    assert sealed("attempt(lambda: bytearray(1 << 30))") == ["MemoryError "]
    names = ("AS", "CPU", "CORE", "FSIZE", "NPROC", "NOFILE")
    said = sealed(f"print([resource.getrlimit(getattr(resource, 'RLIMIT_' + name)) for name in {names}])")
    assert said == [str([(decoder.MEMORY,) * 2, (decoder.CPU, decoder.CPU + 2), (0, 0), (0, 0), (0, 0), (0, 0)])]


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_photos_decode_under_the_process_limit(kind: str) -> None:
    """RLIMIT_NPROC does not apply to root: this process switches to nobody first. It counts threads, and HEIC's decoder needs one."""
    program = f"""
        import os, sys
        sys.path += [{reference_files._COMMAND[5]!r}, {str(Path(decoder.__file__).parents[1])!r}]
        from executors import decoder
        import resource, ctypes
        data = sys.stdin.buffer.read()
        thread = decoder.prepare(data)
        os.geteuid() or os.setuid(65534)
        decoder.seal(thread=thread)
        print(decoder.picture(data, 10**6, 10**6, 1)[1].size)
        try:
            os.fork()
        except OSError:
            print("no process")
    """
    command = [*reference_files._COMMAND[:4], "-c", textwrap.dedent(program)]
    ran = subprocess.run(
        command, env=reference_files._ENVIRONMENT, input=hostile_files.photo(kind), capture_output=True, timeout=LIMIT, cwd="/"
    )
    assert ran.stdout.decode().splitlines() == ["(80, 70)", "no process"], ran.stderr.decode()


def test_a_decoder_finds_neither_our_modules_nor_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://hush")
    ours = "[m for m in sys.modules if m.split('.')[0] in ('torch', 'ourvidz', 'executors', 'state')]"
    tell = f"import os, sys; print('refused'); print(sorted(os.environ), {ours})"
    monkeypatch.setattr(
        reference_files, "_COMMAND", (*reference_files._COMMAND[:4], "-c", f"sys = __import__('sys'); sys.stdin.buffer.read(); {tell}")
    )
    with pytest.raises(BadReference) as said:
        load_reference(b"x")
    assert "DATABASE_URL" not in str(said.value) and "HOME" not in str(said.value) and str(said.value).strip().endswith("[]")


def end_by(number: signal.Signals) -> str:
    return f"import os; os.kill(os.getpid(), {int(number)})"


BROKEN: dict[str, tuple[str, type[ExecutorError]]] = {
    "its decoder crashed": (end_by(signal.SIGSEGV), BadReference),
    "its decoder gave up": (end_by(signal.SIGABRT), BadReference),
    "it was killed for its memory": (end_by(signal.SIGKILL), ReferenceAway),
    "it never started": ("raise SystemExit(1)", ReferenceAway),
    "it says nothing": ("", BadReference),
    "it says nonsense": ("print('rgb PNG -1 80'); print('x' * 1000)", BadReference),
    "it says too little": ("print('rgb PNG 80 70'); print('x' * 1000)", BadReference),
    "it says too much": ("print('rgb PNG 8 7'); print('x' * 1000)", BadReference),
    "it says another kind": ("print('rgb GIF 80 70'); print('x' * 16799)", BadReference),
    "it never stops": ("print('rgb PNG 80 70')\nwhile True: sys.stdout.write('x' * 65536)", BadReference),
}


@pytest.mark.parametrize("what", BROKEN)
def test_invalid_decoder_output_is_rejected(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, kind = BROKEN[what]
    monkeypatch.setattr(reference_files, "_COMMAND", (*reference_files._COMMAND[:4], "-c", f"import sys\nsys.stdin.buffer.read()\n{code}"))
    with pytest.raises(kind):
        load_reference(bytes(1_000_000))


def test_a_decoder_may_not_answer_with_more_pixels_than_were_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.stdin.buffer.read(); print('rgb PNG 80 70'); sys.stdout.write('x' * 16800)"
    monkeypatch.setattr(reference_files, "_COMMAND", (*reference_files._COMMAND[:4], "-c", code))
    assert load_reference(b"x", max_pixels=5_600).size == (80, 70)
    with pytest.raises(BadReference):
        load_reference(b"x", max_pixels=5_599)


@pytest.mark.parametrize("code", ["import time; time.sleep(600)", "import sys, time; sys.stdin.buffer.read(); time.sleep(600)"])
def test_a_decoder_that_hangs_is_killed(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_files, "_COMMAND", (*reference_files._COMMAND[:4], "-c", code))
    monkeypatch.setattr(reference_files, "WALL", 0.5)
    with pytest.raises(ReferenceAway, match="status -9") as away:
        load_reference(bytes(1_000_000))
    assert away.value.retryable


def test_failure_to_start_a_decoder_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_files, "_COMMAND", ("/nowhere/python",))
    with pytest.raises(ReferenceAway, match="No such file"):
        load_reference(hostile_files.png())
