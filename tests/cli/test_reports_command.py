"""`ourvidz reports` and `ourvidz blocks` as used by an operator."""

from __future__ import annotations

import uuid
from pathlib import Path

from cli_command import Command
from support import Clock, claim, executor, finish, new_user, submit

from ourvidz.cli import doctor_services
from ourvidz.db import moderation
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs


def made(database: Database, jobs: Jobs) -> Claim:
    submit(jobs, new_user(database))
    job = claim(jobs, executor(jobs, uuid.uuid4().hex))
    finish(jobs, job)
    return job


def filed(database: Database, job: Claim | None, category: str = "other", said: str = "it is wrong") -> str:
    found, output = str(uuid.uuid4()), None if job is None else job.job_id
    sql = "select public.file_report(%s::uuid, %s, repeat('0', 64), output => %s, said => %s, contact => 'a@example.com')"
    database.rows(sql, (found, category, output, said))
    return found


def test_an_operator_lists_and_decides_reports(ourvidz: Command, database: Database, jobs: Jobs) -> None:
    job = made(database, jobs)
    report, nothing = filed(database, job), filed(database, None)
    listed = {line[0]: line for line in ourvidz("reports", "ls").lines}
    assert set(listed) == {report, nothing} and listed[nothing][4] == "not ours" and listed[report][3:5] == ["filed", "reported"]
    shown = ourvidz("reports", "show", report[:8])
    assert "a@example.com" in shown.out and "it is wrong" in shown.out and job.job_id in shown.out
    assert ourvidz("reports", "show", report, "--json").json["status"] == "seen"
    for verb, status, state in (("hide", "seen", "hidden"), ("block", "upheld", "blocked"), ("restore", "dismissed", "restored")):
        done = ourvidz("reports", verb, report[:8], "--json").json
        assert done["status"] == status and ourvidz("reports", "show", report, "--json").json["state"] == state
    assert [e["type"] for e in ourvidz("reports", "show", report, "--json").json["events"]] == [
        "filed", "seen", "hidden", "upheld", "blocked", "hash_added", "dismissed", "hash_removed", "restored"]  # fmt: skip
    assert ourvidz("reports", "dismiss", nothing).out == f"{nothing}: dismissed\n"
    assert [line[0] for line in ourvidz("reports", "ls", "--closed").lines] == [nothing, report] and not ourvidz("reports", "ls").out
    assert ourvidz("reports", "forget", nothing).code == 2 and ourvidz("reports", "forget", nothing, "--yes").code == 0
    assert ourvidz("reports", "show", nothing, "--json").json["texts"] is None


def test_overdue_reports_are_flagged(ourvidz: Command, database: Database, clock: Clock) -> None:
    filed(database, None, "ncii")
    assert ourvidz("reports", "ls").code == 0 and list(doctor_services.reports(database)) == []
    clock.advance(49 * 3600)
    late = ourvidz("reports", "ls")
    assert late.code == 1 and "OVERDUE by" in late.out and "1 report overdue" in late.err
    (line,) = doctor_services.reports(database)
    assert line.state == "missing" and "1 report not decided" in line.found


def test_a_suspended_user_appeals_and_is_reinstated(ourvidz: Command, database: Database, jobs: Jobs) -> None:
    user = made(database, jobs).user_id
    assert ourvidz("reports", "suspend", user, "--reason", "Not one word").code == 2
    assert ourvidz("reports", "suspend", user, "--reason", "abuse").out == f"{user}: suspended\n"
    assert ourvidz("reports", "suspended").lines[0][0] == user
    with database.transaction() as connection:
        connection.exec_driver_sql(
            "select set_config('request.jwt.claims', %s, true)", ('{"role": "authenticated", "sub": "' + user + '"}',)
        )
        connection.exec_driver_sql("select public.appeal('It was not me.')")
    (waiting,) = ourvidz("reports", "appeals", "--json").json
    assert waiting["said"] == "It was not me."
    assert ourvidz("reports", "grant", waiting["id"]).out == f"{waiting['id']}: granted\n"
    assert ourvidz("reports", "lift", user).code == 1 and not ourvidz("reports", "suspended").out


def test_hash_lists_are_imported_completely_or_not_at_all(ourvidz: Command, database: Database, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("sha256,pdq,note\n" + "".join(f"{n:064x},{n + 1:064X},x\n" for n in range(3)) + f"{0:064x},,twice\n")
    assert ourvidz("blocks", "import", str(file), "--source", "shared", "--dry-run").code == 0 and moderation.blocks(database) == []
    assert ourvidz("blocks", "import", str(file), "--source", "shared", "--json").json == {"sha256": 4, "pdq": 3, "added": 6}
    assert ourvidz("blocks", "ls").lines == [["shared", "3", "3"]]
    file.write_text(f"sha256\n{9:064x}\nnonsense\n")
    refused = ourvidz("blocks", "import", str(file))
    assert refused.code == 2 and "line 3: sha256 must have 64 hex digits" in refused.err
    assert ourvidz("blocks", "ls").lines == [["shared", "3", "3"]]
    assert ourvidz("blocks", "drop", "shared", "--yes").out == "6 dropped\n" and not ourvidz("blocks", "ls").out


def test_the_single_file_page_allows_only_its_own_script(ourvidz: Command, tmp_path: Path) -> None:
    assert ourvidz("reports", "page", "--write", str(tmp_path / "r.html")).code == 2
    ourvidz("reports", "page", "--write", str(tmp_path / "r.html"), SUPABASE_URL="https://abc.supabase.co")
    text = (tmp_path / "r.html").read_text()
    assert 'action="https://abc.supabase.co/functions/v1/report"' in text and "{{" not in text and "unsafe" not in text
    assert "form-action https://abc.supabase.co/functions/v1/report" in text and text.count('type="radio"') == 5
