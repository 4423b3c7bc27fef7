"""The page where anyone reports an output. Its texts are `page/report.html` and `page/report_form.html`; the edge function `report` serves
them, and `ourvidz reports page --write` makes one file of them to host anywhere."""

from __future__ import annotations

import html
import json
import re
from importlib import resources

from ourvidz.safety.help_page import source
from state.reports import CATEGORIES

FUNCTION = "/functions/v1/report"
_FILL = """const form = document.forms[0];
form.output.value = (new URLSearchParams(location.search).get("o") || "").slice(0, 500);
form.id.value = crypto.randomUUID();"""


def _file(name: str) -> str:
    return resources.files("ourvidz.safety").joinpath(f"page/{name}").read_text(encoding="utf-8")


def edge_module() -> str:
    """The text of `supabase/functions/report/page.ts`."""
    kinds = {c.name: {"label": c.label, "hours": c.deadline / 3600} for c in CATEGORIES}
    head = "// Made from ourvidz/safety/page/report.html, report_form.html and state/reports.py by `make docs`; change those.\n"
    named = {"PAGE": _file("report.html"), "FORM": _file("report_form.html")}
    return (
        head
        + "// deno-fmt-ignore-file\n\n"
        + "".join(f"export const {name} = {json.dumps(value, ensure_ascii=False)};\n" for name, value in named.items())
        + "export const CATEGORIES: Readonly<Record<string, { label: string; hours: number }>> = "
        + f"{json.dumps(kinds, ensure_ascii=False)};\n"
    )


def standalone(url: str) -> str:
    """The page for the project at `url` in one file that needs no header. Its form works without scripts; the script fills in the output
    from the page's URL."""
    choices = "\n      ".join(
        f'<label class="choice"><input type="radio" name="category" value="{c.name}" required><span>{html.escape(c.label)}</span></label>'
        for c in CATEGORIES
    )
    action = f"{url.rstrip('/')}{FUNCTION}"
    values = {"action": f' action="{html.escape(action)}"', "categories": choices}
    form = re.sub(r"\{\{(\w+)\}\}", lambda mark: values.get(mark[1], ""), _file("report_form.html"))
    text = _file("report.html").replace(' nonce="{{nonce}}"', "").replace("{{body}}", f"{form}<script>{_FILL}</script>")
    style = re.search(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    assert style is not None
    policy = f"default-src 'none'; style-src {source(style[1])}; script-src {source(_FILL)}; form-action {action}; base-uri 'none'"
    return text.replace("<title>", f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">\n<title>', 1)
