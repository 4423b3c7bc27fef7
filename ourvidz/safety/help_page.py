"""The page for age and attestation. Its text is `page/verify.html`; the edge function `verify` serves it (with a nonce), and
`ourvidz age page --write` makes one file of it to host anywhere (with hashes).
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib import resources

from ourvidz.safety.consent import STATEMENT, VERSION


def template() -> str:
    """The page with its constant parts filled in. Placeholders left: `{{nonce}}`, `{{config}}` and `<!--head-->`."""
    text = resources.files("ourvidz.safety").joinpath("page/verify.html").read_text(encoding="utf-8")
    return text.replace("{{statement}}", html.escape(STATEMENT, quote=False))


def edge_module() -> str:
    """The text of `supabase/functions/verify/page.ts`."""
    named = {"PAGE": template(), "STATEMENT_VERSION": VERSION}
    head = "// Made from ourvidz/safety/page/verify.html by `make docs`; change it there.\n// deno-fmt-ignore-file\n\n"
    return head + "".join(f"export const {name} = {json.dumps(value, ensure_ascii=False)};\n" for name, value in named.items())


def policy(url: str, sources: str) -> str:
    """The Content-Security-Policy: nothing but this page's own style and script, the project's API, and pictures that it read."""
    return "; ".join((
        "default-src 'none'", f"script-src {sources}", f"style-src {sources}", "img-src blob:", f"connect-src {url}", "base-uri 'none'",
        "form-action 'none'",
    ))  # fmt: skip


def standalone(url: str, key: str, back: str = "") -> str:
    """The whole page for the project at `url`, in one file that needs no header. `key` is its publishable key."""
    url = url.rstrip("/")
    config = {"url": url, "key": key, "version": VERSION, "back": back}
    text = template().replace("{{config}}", json.dumps(config).replace("<", "\\u003c")).replace(' nonce="{{nonce}}"', "")
    inline = re.findall(r"<style>(.*?)</style>|<script>(.*?)</script>", text, flags=re.DOTALL)
    hashes = " ".join(source(style or script) for style, script in inline)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy(url, hashes))}">'
    return text.replace("<!--head-->", meta)


def source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
