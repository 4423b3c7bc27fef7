"""A project's API keys: `ourvidz doctor` reports which are used, and whether the legacy ones are disabled."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cli_command import Command

from ourvidz.config import Config

DISABLED = {"message": "Legacy API keys are disabled", "hint": "Re-enable them in the Supabase dashboard, or use the new API keys."}


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    """Answers like Supabase after the owner has disabled the legacy keys: accepts only a new key, as `apikey` alone."""

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            good = self.headers["apikey"].startswith("sb_") and "authorization" not in self.headers
            body = b"[]" if good else json.dumps(DISABLED).encode()
            self.send_response(200 if good else 401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def lines(ourvidz: Command, gateway: str, **keys: str) -> dict[str, list[tuple[str, str]]]:
    said: dict[str, list[tuple[str, str]]] = {}
    for line in ourvidz("doctor", "--json", SUPABASE_URL=gateway, **keys).json:
        said.setdefault(line["what"], []).append((line["state"], f"{line['found']} {line['remedy']}"))
    return {what: said.get(what, []) for what in ("keys", "storage")}


def test_a_disabled_legacy_key_is_reported_as_disabled(ourvidz: Command, gateway: str) -> None:
    said = lines(ourvidz, gateway, SUPABASE_SERVICE_KEY="a.b.c", SUPABASE_ANON_KEY="a.b.d")
    assert [state for state, _ in said["keys"]] == ["warn", "missing"]
    assert "SUPABASE_SECRET_KEY" in said["keys"][0][1] and "SUPABASE_PUBLISHABLE_KEY" in said["keys"][1][1]
    ((state, words),) = said["storage"]
    assert state == "missing" and "Legacy API keys are disabled" in words and "set it as SUPABASE_SECRET_KEY" in words


def test_the_new_keys_win_over_disabled_ones_that_are_still_set(ourvidz: Command, gateway: str) -> None:
    keys = {"SUPABASE_SECRET_KEY": "sb_secret_a", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_a"}
    said = lines(ourvidz, gateway, SUPABASE_SERVICE_KEY="a.b.c", SUPABASE_ANON_KEY="a.b.d", **keys)
    assert [state for state, _ in said["keys"]] == ["ok", "ok"] and [state for state, _ in said["storage"]] == ["ok"]


def test_the_secret_key_takes_precedence() -> None:
    def opened(**given: str) -> tuple[str, str] | None:
        return Config(supabase_url="https://a.supabase.co", **given).supabase  # type: ignore[arg-type]

    assert opened() is None
    assert opened(supabase_service_key="a.b.c") == ("https://a.supabase.co", "a.b.c")
    assert opened(supabase_service_key="a.b.c", supabase_secret_key="sb_secret_a") == ("https://a.supabase.co", "sb_secret_a")
