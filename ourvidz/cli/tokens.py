"""`ourvidz tokens`: show balances, grant and revoke tokens, and check the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ourvidz.cli import formatting, options, out, resolve
from ourvidz.cli.help import Sections, about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ourvidz.db.ledger import Finding, Moved

User = Annotated[str, typer.Argument(metavar="USER", help="The profile's id, a UUID.", show_default=False)]
Amount = Annotated[
    int, typer.Argument(metavar="AMOUNT", min=1, max=1_000_000_000_000, help="How many tokens, 1 or more.", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the entry for good.", show_default=False)]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="The same key again moves nothing: an order's number, say.")]
_SHOWN = 50


def add(app: typer.Typer, panel: str) -> None:
    tokens = typer.Typer(cls=Sections, rich_markup_mode=None, help="Show, grant and revoke tokens; check the ledger.")
    user = "3f1c…"
    tokens.command("show", **about(f"ourvidz tokens show {user}", f"ourvidz tokens show {user} --json | jq .balance"))(show)
    tokens.command("grant", **about(f"ourvidz tokens grant {user} 100 --reason 'starter plan' --key invoice-1042"))(grant)
    tokens.command("revoke", **about(f"ourvidz tokens revoke {user} 100 --reason 'payment reversed'"))(revoke)
    tokens.command("check", **about("ourvidz tokens check"))(check)
    app.add_typer(tokens, name="tokens", rich_help_panel=panel)


def show(
    user: User,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many entries.")] = 20,
    as_json: options.Json = False,
) -> None:
    """Show what a user can spend, what their jobs hold, and the last entries."""
    from ourvidz import bootstrap
    from ourvidz.db import ledger, queries

    owner = _a_user(user)
    db = bootstrap.app().database
    found = ledger.account(db, owner, limit)
    if as_json:
        return out.emit({"user": owner, "balance": found.balance, "held": found.held, "entries": found.entries})
    now = queries.now(db)
    out.say(f"{formatting.count(found.balance, 'token')} to spend, {found.held:,} held by unfinished jobs.")
    columns = ("when", "entry", "to spend", "held", "job", "who", "reason")
    out.table(columns, [_entry(e, now) for e in found.entries], right=("to spend", "held"))


def grant(user: User, amount: Amount, reason: Reason, key: Key = None, as_json: options.Json = False) -> None:
    """Give a user tokens."""
    _move("grant", user, amount, reason, key, as_json)


def revoke(user: User, amount: Amount, reason: Reason, key: Key = None, as_json: options.Json = False) -> None:
    """Take tokens back that no job holds."""
    _move("revoke", user, amount, reason, key, as_json)


def _move(verb: str, user: str, amount: int, reason: str, key: str | None, as_json: bool) -> None:
    from ourvidz import bootstrap
    from ourvidz.db import ledger

    owner = _a_user(user)
    done: Moved = {"grant": ledger.grant, "revoke": ledger.revoke}[verb](
        bootstrap.app().database, owner, amount, reason, key, resolve.actor()
    )
    if as_json:
        return out.emit({"user": owner, "balance": done.balance, "created": done.created})
    if not done.created:
        out.say(f"Key {key!r} had moved them before; nothing was changed.", "yellow")
    print(f"{formatting.count(done.balance, 'token')} to spend")


def check(as_json: options.Json = False) -> None:
    """Check that the ledger adds up. Exit 1 when it does not.

    Every transfer sums to zero, every balance is the sum of its entries, every unfinished job holds its price and no other job holds
    anything, and every entry of a job has its event.
    """
    from ourvidz import bootstrap
    from ourvidz.db import ledger

    found = ledger.check(bootstrap.app().database)
    if as_json:
        out.emit({"findings": as_data(found)})
    else:
        findings(found)
        print(summary(found))
    if found:
        raise typer.Exit(1)


def summary(found: Sequence[Finding]) -> str:
    return f"ledger: {formatting.count(len(found), 'finding')}" if found else "ledger: ok"


def as_data(found: Sequence[Finding]) -> list[dict[str, Any]]:
    return [{"kind": f.kind, "user_id": f.user_id, "job_id": f.job_id, "message": f.message} for f in found]


def findings(found: Sequence[Finding]) -> None:
    shown = found[:_SHOWN] if out.stdout().is_terminal else found
    if shown:
        rows = [[out.cell(f.kind, "red"), out.cell(f.user_id), out.job_id(f.job_id or ""), out.cell(f.message)] for f in shown]
        out.table(("finding", "user", "job", ""), rows)
    if len(shown) < len(found):
        out.say(f"… and {len(found) - len(shown):,} more; --json lists them all.", "dim")


def _entry(e: dict[str, Any], now: Any) -> list[out.Cell]:
    def moved(amount: int) -> out.Cell:
        return out.Cell(f"{amount:+,}" if amount else "", str(amount), "green" if amount > 0 else "")

    return [
        out.since(e["at"], now), out.cell(e["kind"]), moved(e["available"]), moved(e["held"]), out.job_id(e["job_id"] or ""),
        out.cell(e["actor"]), out.cell(e["reason"]),
    ]  # fmt: skip


def _a_user(text: str) -> str:
    user = resolve.a_uuid(text, "USER")
    assert user is not None
    return user
