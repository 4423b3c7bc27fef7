"""`ourvidz migrate` on OurVidz's production database: which legacy data the operator trusts, and its errors."""

from __future__ import annotations

from pathlib import Path

from cli_command import Command, environment
from production_copy import BORIS, CLARA
from public_objects import objects

from ourvidz.db.connection import Database


def test_trust_options_keep_legacy_values(production: Database, tmp_path: Path) -> None:
    ourvidz = Command(environment(tmp_path / "home", DATABASE_URL=production.url), tmp_path)
    paying = tmp_path / "paying.txt"
    paying.write_text(f"# from the shop's books\n{CLARA}  # since May\n\n")
    options = ("--trust", f"plan={paying}", "--trust", "balance=all", "--balance", "20")
    said = ourvidz("migrate", "--check", *options).out
    assert "plan of users in public.profiles: 1 believed, 1 become 'inactive'" in said
    assert "balance of users in public.profiles: 3 believed, 1 become 20" in said
    assert ourvidz("migrate", *options).code == 0
    rows = {str(r["id"]): r for r in production.rows("select id, subscription_status as plan, token_balance as n from public.profiles")}
    assert (rows[CLARA]["plan"], rows[CLARA]["n"]) == ("pro", 340) and (rows[BORIS]["plan"], rows[BORIS]["n"]) == ("inactive", 999999)
    assert len(production.rows("select distinct decided_by from ourvidz.import_decisions where decided_by <> 'migration'")) == 1


def test_invalid_trust_options_are_refused(bare: Command, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text("clara\n")
    for given, word in (
        ("role=all", "raw_app_meta_data"),
        ("plan", "plan=none|all|FILE"),
        ("plan=", "plan=none|all|FILE"),
        ("wealth=all", "balance=none|all|FILE"),
        (f"age={tmp_path}/none.txt", "cannot be read"),
        (f"age={tmp_path}/odd.txt", "line 1: 'clara' is not a user's id"),
    ):
        refused = bare("migrate", "--trust", given)
        assert refused.code == 2 and word in refused.err.replace("\n", " "), (given, refused.err)
    assert bare("migrate", "--trust", "age=all", "--trust", "age=none").code == 2
    assert bare("migrate", "--balance", "-1").code == 2


def test_a_refused_migration_changes_nothing(production: Database, tmp_path: Path) -> None:
    production.rows("create table public.artifacts (id integer)")
    production.rows("alter table public.profiles add column referrer text not null default ''")
    production.rows("alter table public.profiles alter column referrer drop default")
    before = objects(production)
    ourvidz = Command(environment(tmp_path / "home", DATABASE_URL=production.url), tmp_path)
    for args, done in ((("migrate",), "Nothing was changed"), (("migrate", "--check"), "")):
        said = ourvidz(*args)
        assert done in said.err
        assert said.code == 1 and "public.artifacts" in said.out and "column referrer of public.profiles" in said.out
        assert "alter column referrer set default" in " ".join(said.out.split())
    told = ourvidz("migrate", "--json")
    assert told.code == 1 and [s["object"] for s in told.json["steps"] if s["refused"]] != [] and told.json["changed"] is False
    assert objects(production) == before
