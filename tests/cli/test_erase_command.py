"""`ourvidz erase`, `hold` and `safety refusals`."""

from __future__ import annotations

from cli_command import Command
from support import Permissive, claim, executor, finish, new_user, row, submit

from ourvidz.db import safety
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs

WORD = "zanzibar"


def theirs(database: Database) -> str:
    jobs, user = Jobs(database, Permissive()), new_user(database)
    submit(jobs, user, prompt=f"a {WORD} at dusk")
    finish(jobs, claim(jobs, executor(jobs)))
    submit(jobs, user, prompt=f"another {WORD}")
    return user


def test_erase_asks_for_confirmation_and_reports(ourvidz: Command, database: Database) -> None:
    user = theirs(database)
    dry = ourvidz("erase", user, "--dry-run", "--json").json
    assert (dry["dry_run"], dry["counts"]["prompts"], dry["counts"]["unfinished_jobs"]) == (True, 2, 1)
    unasked = ourvidz("erase", user)
    assert unasked.code == 2 and "add --yes" in unasked.err
    assert len(database.rows("select 1 from public.job_payloads where prompt like %s", (f"%{WORD}%",))) == 2
    done = ourvidz("erase", user, "--yes", "--json", "--reason", "ticket 4711")
    assert done.code == 0 and done.json["dry_run"] is False and done.json["counts"]["prompts"] == 2 and WORD not in done.out + done.err
    assert any(user in line for line in done.json["remains"])
    assert database.rows("select 1 from public.job_payloads where prompt <> ''") == []
    assert ourvidz("audit").code == 0 and ourvidz("rebuild", "--verify").code == 0
    again = ourvidz("erase", user, "--yes")
    assert again.code == 0 and "nothing of theirs left" in again.err and "Not erased here: The login is Supabase's" in again.err
    refused = ourvidz("submit", "image_fast", "--prompt", "a fox", "--user", user)
    assert refused.code == 1 and "age-verified" in refused.err
    job = str(database.rows("select id from public.jobs limit 1")[0]["id"])
    assert "(erased)" in ourvidz("jobs", "show", job).out and row(database, job)["user_id"]


def test_a_legal_hold_prevents_erasure(ourvidz: Command, database: Database) -> None:
    user = theirs(database)
    assert ourvidz("hold", "set", user, "--reason", "court order 12/25").code == 0
    (held,) = ourvidz("hold", "ls", "--json").json
    assert (held["user_id"], held["reason"]) == (user, "court order 12/25")
    refused = ourvidz("erase", user, "--yes")
    assert refused.code == 1 and "legal hold" in refused.err and "hold lift" in refused.err
    assert ourvidz("hold", "lift", user).code == 0
    assert ourvidz("hold", "lift", user).code == 1 and ourvidz("hold", "ls", "--json").json == []
    assert len(ourvidz("hold", "ls", "--all", "--json").json) == 1
    assert ourvidz("erase", user, "--yes").code == 0


def test_unknown_users_are_refused(bare: Command, ourvidz: Command) -> None:
    assert bare("erase", "me").code == 2 and bare("hold", "set", "me", "--reason", "x").code == 2
    assert bare("hold", "set", "00000000-0000-0000-0000-00000000000a").code == 2
    nobody = ourvidz("erase", "00000000-0000-0000-0000-00000000000a", "--yes")
    assert nobody.code == 1 and "no profile" in nobody.err


def test_refusals_are_counted(ourvidz: Command, database: Database) -> None:
    assert "Nothing was refused" in ourvidz("safety", "refusals").err
    user = new_user(database)
    for _ in range(2):
        assert ourvidz("submit", "image_fast", "--prompt", "a photo of a toddler", "--user", user).code == 1
    (told,) = ourvidz("safety", "refusals", "--json").json
    assert (told["stage"], told["refusals"], told["users"], told["category"]) == ("door", 2, 1, "minors")
    assert ourvidz("safety", "refusals", "--since", "1h").lines[0][2:5] == ["door", "2", "1"]
    assert "toddler" not in str(database.rows("select * from ourvidz.screenings"))


def test_consent_shows_what_depends_on_a_withdrawn_picture(ourvidz: Command, database: Database) -> None:
    jobs, user, picture = Jobs(database, Permissive()), new_user(database), "a1" * 32
    safety.attest(database, user, picture, "v1")
    submit(jobs, user)
    held = claim(jobs, executor(jobs))
    jobs.check_consent(held, picture)
    finish(jobs, held)
    assert ourvidz("consent", "ls", "--withdrawn", "--json").json == []
    (before,) = ourvidz("consent", "uses", picture, "--json").json
    assert (before["job_id"], before["why"]) == (held.job_id, None)
    database.rows("select ourvidz.withdraw(%s, %s)", (user, picture))
    (row,) = ourvidz("consent", "ls", "--withdrawn", "--user", user, "--json").json
    assert (row["sha256"], row["jobs"]) == (picture, 1) and picture in ourvidz("consent", "ls").out
    assert "no: a consent was withdrawn" in ourvidz("consent", "uses", picture, "--user", user).out
    assert ourvidz("consent", "uses", "a1").code == 2
