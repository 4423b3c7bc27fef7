"""The real supabase-js, in one Deno process for all of a test's calls: the same code as in browsers and edge functions."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from waiting import LIMIT

from ourvidz.dev.parts import LOCK, Parts

HARNESS = Path(__file__).with_name("supabase_js.ts")


class JsError(Exception):
    """Thrown by the body. supabase-js itself rarely throws: check `error` in its result."""


class SupabaseJs:
    """`js("return await client.auth.signUp(given)", email=…, password=…)`: runs the body of an async function; its result returns as JSON.

    The body sees `client`, made with `key`; `connect(key, options)` for more clients; `given`, the named values; `kept`, an object that
    persists between calls.
    """

    def __init__(self, parts: Parts, url: str, key: str, folder: Path) -> None:
        version = json.loads((LOCK / "package.json").read_text())["dependencies"]["@supabase/supabase-js"]
        names = folder / "import_map.json"
        names.write_text(json.dumps({"imports": {"@supabase/supabase-js": f"npm:@supabase/supabase-js@{version}"}}))
        rights = ["--allow-net=127.0.0.1", "--allow-env", f"--allow-read={folder}"]
        offline = [
            "--cached-only",
            f"--lock={LOCK / 'deno.lock'}",
            "--frozen",
            "--no-config",
            "--no-check",
            "--no-prompt",
            "--node-modules-dir=none",
        ]
        self._log = (folder / "supabase_js.log").open("w+")
        self._process = subprocess.Popen(
            [parts.deno, "run", "--quiet", *offline, f"--import-map={names}", *rights, HARNESS],
            env={**os.environ, **parts.deno_env, "SUPABASE_URL": url, "KEY": key},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip

    def __call__(self, body: str, **given: Any) -> Any:
        """Raises JsError with whatever the body threw, TimeoutError after LIMIT seconds."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"body": body, "given": given}) + "\n")
        self._process.stdin.flush()
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            if not ready.select(LIMIT):
                raise TimeoutError(f"no answer after {LIMIT:g} s: {body}\n{self._said()}")
        line = self._process.stdout.readline()
        if not line:
            raise JsError(f"Deno ended:\n{self._said()}")
        answer = json.loads(line)
        if "error" in answer:
            raise JsError(answer["error"])
        return answer["result"]

    def __enter__(self) -> SupabaseJs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()
