"""`ourvidz age`: pending users, decisions, and a check that browsers would render the page."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cli_command import Command
from support import new_user

from ourvidz.cli import age
from ourvidz.db.connection import Database


def test_verify_and_refuse(ourvidz: Command, database: Database) -> None:
    me = new_user(database, verified=False)
    assert ourvidz("age", "verify", me).code == 2, "how must be said"
    assert ourvidz("age", "verify", me, "--how", "a passport").out.strip() == f"{me}: verified"
    (row,) = ourvidz("age", "ls", "--decided", "--json").json
    assert (row["user_id"], row["decision"], row["how"]) == (me, "verified", "a passport") and row["decided_by"]
    assert ourvidz("age", "review", me).out.strip() == f"{me}: in review"
    assert "in review" in ourvidz("age", "ls").out
    assert ourvidz("age", "verify", me, "--how", "a passport", "--until", "2001-05-01").code == 2, "it would have run out"
    assert (
        ourvidz("age", "verify", me, "--how", "a passport", "--until", "2999-05-01", "--json")
        .json["verified_until"]
        .startswith("2999-05-01")
    )
    assert ourvidz("age", "refuse", me, "--how", "it was forged").code == 0
    assert database.rows("select age_verified from public.profiles where id = %s", (me,)) == [{"age_verified": False}]
    unknown = ourvidz("age", "verify", "0190a0f2-0000-7000-8000-0000000000aa", "--how", "x")
    assert unknown.code == 1 and "There is no profile" in unknown.err


def test_migrate_sets_the_projects_verify_page(ourvidz: Command) -> None:
    assert ourvidz("age", "page", "--json").json["state"] == "none"
    done = ourvidz("migrate", SUPABASE_URL="http://127.0.0.1:1")
    assert done.code == 0, done.err
    assert ourvidz("age", "page", "--json").json == {
        "url": "http://127.0.0.1:1/functions/v1/verify", "state": "away", "said": "It does not answer (ConnectError).",
    }  # fmt: skip
    assert ourvidz("age", "page", "--url", "http://example.com/x").code == 2, "pictures are hashed over https alone"


def test_a_page_served_as_plain_text_is_reported() -> None:
    class Pages(BaseHTTPRequestHandler):
        """Replies as Supabase does for a function's HTML on *.supabase.co."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", self.path.strip("/").replace("-", "/") + "; charset=utf-8")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}"
        state, said = age.look(f"{at}/text-plain#age")
        assert state == "text" and "custom domain" in said
        assert age.look(f"{at}/text-html")[0] == "ok"
        server.shutdown()


def test_the_single_file_page_allows_only_its_own_script(ourvidz: Command, tmp_path: Path) -> None:
    file = tmp_path / "verify.html"
    assert ourvidz("age", "page", "--write", str(file)).code == 2, "for which project?"
    keys = {"SUPABASE_URL": "https://abc.supabase.co/", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_a"}
    assert ourvidz("age", "page", "--write", str(file), **keys).code == 0
    text = file.read_text()
    assert "{{" not in text and "nonce" not in text and '"sb_publishable_a"' in text
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    policy = html.unescape(policy)
    assert "unsafe" not in policy and "connect-src https://abc.supabase.co;" in policy
    for inline in re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, flags=re.DOTALL):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'" in policy
