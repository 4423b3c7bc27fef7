"""`ourvidz tokens`: output for people, output for programs, and exit codes."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import psycopg
from cli_command import Command
from support import submit

from ourvidz.lifecycle import Jobs

User = Callable[..., str]


def test_grant_revoke_and_show(ourvidz: Command, jobs: Jobs, user: User) -> None:
    owner = user(tokens=5)
    given = ourvidz("tokens", "grant", owner, "1000", "--reason", "pro plan", "--key", "invoice-7")
    assert (given.code, given.out) == (0, "1,005 tokens to spend\n")
    again = ourvidz("tokens", "grant", owner, "1000", "--reason", "pro plan", "--key", "invoice-7", "--json")
    assert again.json == {"user": owner, "balance": 1005, "created": False}
    assert ourvidz("tokens", "revoke", owner, "5", "--reason", "an error", "--json").json["balance"] == 1000
    job_id = submit(jobs, owner, "video_high")
    seen = ourvidz("tokens", "show", owner)
    assert [line[1:3] for line in seen.lines] == [["hold", "-40"], ["revoke", "-5"], ["grant", "1000"], ["opening", "5"]]
    assert (seen.lines[0][3:5], seen.lines[1][6]) == (["40", job_id], "an error")
    assert "960 tokens to spend, 40 held" in seen.err
    told = ourvidz("tokens", "show", owner, "--json", "-n", "1").json
    assert (told["balance"], told["held"], len(told["entries"])) == (960, 40, 1)
    assert told["entries"][0]["job_id"] == job_id
    for word in ("to spend", "pro plan", "+1,000"):
        assert word in ourvidz.in_terminal("tokens", "show", owner).plain


def test_invalid_amounts_and_users_are_refused(ourvidz: Command, bare: Command, user: User) -> None:
    owner = user(tokens=5)
    for typed in (("nobody", "1"), (owner, "some")):
        assert bare("tokens", "grant", *typed, "--reason", "x").code == 2
    assert bare("tokens", "grant", owner, "1").code == 2  # missing --reason
    assert ourvidz("tokens", "grant", owner, "0", "--reason", "x").code == 2
    absent = ourvidz("tokens", "show", str(uuid.uuid4()))
    assert absent.code == 1 and "There is no profile" in absent.err
    short = ourvidz("tokens", "revoke", owner, "6", "--reason", "x")
    assert short.code == 1 and "takes 6 tokens" in short.err
    ourvidz("tokens", "grant", owner, "1", "--reason", "x", "--key", "k")
    other = ourvidz("tokens", "grant", owner, "2", "--reason", "x", "--key", "k")
    assert other.code == 1 and "Use another key" in other.err


def test_check_and_audit(ourvidz: Command, jobs: Jobs, user: User, superuser: psycopg.Connection[object]) -> None:
    owner = user(tokens=5)
    submit(jobs, owner)
    assert (ourvidz("tokens", "check").out, ourvidz("tokens", "check", "--json").json) == ("ledger: ok\n", {"findings": []})
    superuser.execute("alter table public.profiles disable trigger balance_guard")
    superuser.execute("update public.profiles set token_balance = 99")
    wrong = ourvidz("tokens", "check")
    assert wrong.code == 1 and wrong.lines[0][:2] == ["balance", owner] and wrong.lines[-1] == ["ledger: 1 finding"]
    audited = ourvidz("audit", "--json")
    assert audited.code == 1 and audited.json["findings"] == [] and [f["kind"] for f in audited.json["ledger"]] == ["balance"]
