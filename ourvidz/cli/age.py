"""`ourvidz age`: requests for age verification, decisions on them, and the page that refusals link to."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ourvidz.cli import options, out, resolve
from ourvidz.cli.help import Sections, about

User = Annotated[str, typer.Argument(metavar="USER", help="The profile's id, a UUID.", show_default=False)]
How = Annotated[str, typer.Option("--how", metavar="TEXT", help="What the decision rests on; kept with it.", show_default=False)]
Until = Annotated[
    datetime | None,
    typer.Option("--until", metavar="DAY", help="When it runs out, in UTC: 2031-05-01. Else it does not.", formats=["%Y-%m-%d"]),
]
QUICK = 10.0  # seconds for the page to answer


def add(app: typer.Typer, panel: str) -> None:
    age = typer.Typer(cls=Sections, rich_markup_mode=None, help="Verify users' ages; the page that refusals link to.")
    user = "3f1c…"
    age.command("ls", **about("ourvidz age ls", "ourvidz age ls --decided --json"))(ls)
    age.command("review", **about(f"ourvidz age review {user}"))(review)
    age.command("verify", **about(f"ourvidz age verify {user} --how 'passport, seen in a call'",
                                  f"ourvidz age verify {user} --how 'passport' --until 2031-05-01"))(verify)  # fmt: skip
    age.command("refuse", **about(f"ourvidz age refuse {user} --how 'the document had expired'"))(refuse)
    here = "ourvidz age page --write verify.html --url https://app.example.com/verify.html"
    age.command("page", **about("ourvidz age page", here))(page)
    app.add_typer(age, name="age", rich_help_panel=panel)


def ls(
    decided: Annotated[bool, typer.Option("--decided", help="The newest decisions instead.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many.")] = 100,
    as_json: options.Json = False,
) -> None:
    """List who waits to have their age verified, those who asked first at the top."""
    from ourvidz import bootstrap
    from ourvidz.db import ages

    rows = ages.reviews(bootstrap.app().database, decided=decided, limit=limit)
    if as_json:
        return out.emit([{name: value for name, value in row.items() if name != "now"} for row in rows])
    if not rows:
        return out.say("Nobody waits." if not decided else "Nothing was decided yet.", "dim")

    def when(at: datetime | None, now: datetime) -> out.Cell:
        return out.since(at, now) if at else out.cell("–")

    columns = ("user", "email", "asked", "state", "since", "by", "until", "how")
    out.table(columns, [[
        out.cell(r["user_id"]), out.cell(r["email"] or "–"), when(r["asked_at"], r["now"]),
        out.cell(r["decision"] or ("in review" if r["began_at"] else "waiting")), when(r["decided_at"] or r["began_at"], r["now"]),
        out.cell(r["decided_by"] or r["began_by"] or "–"), out.cell(f"{r['verified_until']:%Y-%m-%d}" if r["verified_until"] else "–"),
        out.cell(r["how"] or "–"),
    ] for r in rows])  # fmt: skip


def review(user: User, as_json: options.Json = False) -> None:
    """Say that you look at a user's request: their page then says that it is in review."""
    from ourvidz import bootstrap
    from ourvidz.db import ages

    found = resolve.a_uuid(user, "USER")
    assert found is not None
    done = ages.look(bootstrap.app().database, found, resolve.actor())
    out.emit(done) if as_json else print(f"{found}: in review")


def verify(user: User, how: How, until: Until = None, as_json: options.Json = False) -> None:
    """Verify a user's age: from then on jobs are made for them, up to --until where it is given."""
    _decide(user, True, how, as_json, until.replace(tzinfo=UTC) if until else None)


def refuse(user: User, how: How, as_json: options.Json = False) -> None:
    """Refuse it, or take a verification back: the user's jobs stop at their next step. They may ask again a day later."""
    _decide(user, False, how, as_json)


def _decide(user: str, verified: bool, how: str, as_json: bool, until: datetime | None = None) -> None:
    from ourvidz import bootstrap
    from ourvidz.db import ages

    found = resolve.a_uuid(user, "USER")
    assert found is not None
    done = ages.decide(bootstrap.app().database, found, verified, resolve.actor(), how, until)
    out.emit(done) if as_json else print(f"{found}: {done['decision']}")


def page(
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="What refusals link to from now on.")] = None,
    write: Annotated[Path | None, typer.Option("--write", metavar="FILE", help="Write the page as one file, to host anywhere.")] = None,
    as_json: options.Json = False,
) -> None:
    """Show or set the page for age and attestation, and look whether a browser would show it.

    The edge function `verify` serves it, but Supabase lets functions show HTML on a custom domain alone. Without one, host the file that
    --write makes (SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY go into it), name it with --url, and set the function's secret VERIFY_PAGE_URL.
    """
    from ourvidz import bootstrap
    from ourvidz.db import ages
    from ourvidz.safety import help_page

    app = bootstrap.app()
    if write is not None:
        key = app.config.publishable_key
        if app.config.supabase_url is None or key is None:
            raise out.Problem("Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY: the page asks that project.", 2)
        write.write_text(help_page.standalone(app.config.supabase_url, key), encoding="utf-8")
        out.say(f"Written to {write}. Host it over https, and add its address to the project's redirect URLs")
        out.say("(Authentication → URL Configuration), so that people who sign in with Google come back to it.")
    if url is not None:
        if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise out.Problem("--url: the page needs https, for it computes the SHA-256 of pictures in the browser.", 2)
        ages.set_help_url(app.database, url)
    found = ages.help_url(app.database)
    state, said = look(found)
    if as_json:
        out.emit({"url": found, "state": state, "said": said})
    else:
        print(found or "(none)")
        out.say(said, {"ok": "green", "none": "dim"}.get(state, "yellow"))


def look(url: str | None) -> tuple[str, str]:
    """Check if a browser would show the page. Returns (ok | none | text | away, the finding)."""
    import httpx

    from ourvidz.outbound import clients

    if url is None:
        return "none", "No page is set: refusals say what to do, and link nowhere. `ourvidz migrate` sets it where SUPABASE_URL is known."
    try:
        with clients.client(timeout=QUICK, follow_redirects=True, headers={"accept": "text/html"}) as http:
            answer = http.get(url)
    except httpx.HTTPError as error:
        return "away", f"It does not answer ({type(error).__name__})."
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if answer.status_code != 200:
        return "away", f"It answers {answer.status_code}. Is the function deployed? `supabase functions deploy verify`"
    if kind not in ("text/html", "application/xhtml+xml"):
        return "text", (
            f"It is served as {kind or 'nothing'}, so a browser shows no page: Supabase shows HTML of functions on a custom domain alone. "
            "Host the file of `ourvidz age page --write FILE`, and name it with --url."
        )
    return "ok", "A browser shows it."
