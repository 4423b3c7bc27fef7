"""`ourvidz top`: its JSON, its layout at several widths, and running in a terminal until a key is pressed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from cli_command import COMMAND, Command
from rich.console import Console
from support import Clock, claim, executor, finish, submit
from waiting import LIMIT

from ourvidz.cli.top import figures
from ourvidz.cli.top_page import page, state
from ourvidz.db import fleet
from ourvidz.db.connection import Database
from ourvidz.lifecycle import Jobs
from ourvidz.waiting_reports import Troubles

User = Callable[..., str]
GB = 1_000_000_000


@pytest.fixture
def busy(jobs: Jobs, user: User, database: Database) -> str:
    """One executor at step 12 of 15, one waiting with a lane closed, one silent, one gone; failed jobs. Returns the running job."""
    owner = user("premium")
    works, waits, silent, gone = (executor(jobs, name) for name in ("gpu0", "gpu1", "gpu2", "gpu3"))
    for _ in range(3):
        submit(jobs, owner)
        finish(jobs, claim(jobs, works))
    submit(jobs, owner)
    jobs.fail(claim(jobs, works), "out_of_memory", "No room.")
    submit(jobs, owner)
    jobs.fail(claim(jobs, works), "bad_reference", "No picture.", retryable=False)
    assert not jobs.claim(waits)
    running = submit(jobs, owner)
    jobs.advance(claim(jobs, works), "generation_started")
    at = {"job": running, "stage": "generating", "done": 12, "total": 15}
    jobs.heartbeat(works, info={**at, "finished": 3, "vram_used": 22 * GB, "vram_total": 48 * GB, "utilisation": 0.98, "rss": GB})
    jobs.heartbeat(waits, lanes=["sdxl"], info={"finished": 0, "rss": GB, "cpu": 0.02, "closed": ["wan"]})
    jobs.drain(gone, done=True)
    database.rows("update ourvidz.executors set lease_until = now() - interval '1 min', lanes = '{wan_vace}' where id = %s", (silent,))
    for _ in range(2):
        submit(jobs, owner, "video_fast")
    return running


def test_as_json(ourvidz: Command, busy: str) -> None:
    told = ourvidz("top", "--json").json
    assert [(e["name"], state(e), e["job_id"]) for e in told["executors"]] == [
        ("gpu0", "works", busy), ("gpu1", "waits", None), ("gpu2", "silent", None), ("gpu3", "gone", None),
    ]  # fmt: skip
    assert "secret" not in told["executors"][0]
    lanes = {r["lane"]: r for r in told["queue"]}
    assert (lanes["wan"]["ready"], lanes["wan"]["executors"]) == (2, 1)
    assert (lanes["sdxl"]["held"], lanes["sdxl"]["scheduled"], lanes["sdxl"]["executors"]) == (1, 1, 2)
    assert "wan_vace" in lanes
    assert {k: told["pace"][k] for k in ("completed", "failed", "retried", "cancelled")} == {
        "completed": 3, "failed": 1, "retried": 1, "cancelled": 0,
    }  # fmt: skip
    assert [(f["reason"], f["type"]) for f in told["failures"]] == [("bad_reference", "failed"), ("out_of_memory", "retry_scheduled")]


@pytest.mark.parametrize("width", [70, 80, 100, 132])
def test_the_page_fits_every_width(database: Database, busy: str, width: int) -> None:
    console = Console(width=width, record=True, force_terminal=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(page(figures(database, Troubles(None)), width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    (gpu0,) = [line for line in lines if "gpu0" in line]
    for part in (busy[:8], "sdxl_image_fast", "generating", "12/15"):
        assert part in gpu0
    shown = [part for part in ("98%", "22.0/48 GB", "━") if part in gpu0]
    assert len(shown) == {70: 1, 80: 1, 100: 3, 132: 3}[width]
    text = "\n".join(lines)
    for part in ("1 working", "1 silent", "3 done, 1 failed", "silent for", "lane wan closed", "bad_reference", "out_of_memory"):
        assert part in text, part
    assert not [line for line in lines if "…" in line]


def test_an_empty_database(ourvidz: Command) -> None:
    answer = ourvidz("top", "--once")
    assert answer.code == 0
    for part in ("`ourvidz up` starts them", "Nothing waits", "No failures", "0 working"):
        assert part in answer.out


def test_it_runs_until_q_is_pressed(ourvidz: Command, busy: str) -> None:
    answer = ourvidz.in_terminal("top", typed="q")
    assert answer.code == 0
    assert "\x1b[?1049h" in answer.out and "\x1b[?1049l" in answer.out  # alternate screen, and back
    assert busy[:8] in answer.plain and "q quits" in answer.plain


def test_it_exits_when_its_terminal_closes(ourvidz: Command, busy: str) -> None:
    main, side = pty.openpty()
    watching = subprocess.Popen([*COMMAND, "top"], env=ourvidz.env | {"TERM": "xterm"}, stdin=side, stdout=side, stderr=subprocess.PIPE)
    os.close(side)
    seen = b""
    while b"q quits" not in seen:
        seen += os.read(main, 65536)
    os.close(main)
    assert watching.wait(LIMIT) is not None
    assert watching.stderr is not None and b"Traceback" not in watching.stderr.read()


def test_the_pace_covers_five_minutes_up_to_an_event_limit(jobs: Jobs, user: User, database: Database, clock: Clock) -> None:
    owner = user("premium")
    device = executor(jobs)
    for _ in range(4):
        submit(jobs, owner)
        finish(jobs, claim(jobs, device))
        clock.advance(100)
        jobs.heartbeat(device)
    assert {k: fleet.pace(database)[k] for k in ("completed", "seen_s")} == {"completed": 2, "seen_s": 300.0}  # at 200 and 300 s
    clipped = database.rows(fleet._sql("pace"), {"span_s": 1000.0, "most": 7})[0]
    assert clipped["completed"] == 1
    assert clipped["seen_s"] == 100.0


def test_executors_and_analysts_may_watch_and_see_no_secret(superuser: psycopg.Connection, busy: str) -> None:
    for role in ("ourvidz_executor", "ourvidz_analyst"):
        superuser.execute(f"set role {role}")
        watched = [("fleet", {"gone_s": 900.0}), ("pace", {"span_s": 300.0, "most": 100}), ("failures", {"limit": 5})]
        supervised = [("lives", {"host": "host", "names": ["gpu0"]}), ("held_by", {"host": "host", "name": "gpu0", "pid": 1}),
                      ("ready_by_lane", None), ("lane_served", {"name": "gpu0", "lane": "sdxl", "since": "2025-01-01"})]  # fmt: skip
        for query, given in watched + (supervised if role == "ourvidz_executor" else []):
            superuser.execute(fleet._sql(query), given)
        assert superuser.execute("select * from public.queue_depth").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            superuser.execute("select secret from ourvidz.executors")
        superuser.execute("reset role")


def test_json_has_all_sections(ourvidz: Command, busy: str) -> None:
    told: dict[str, Any] = json.loads(ourvidz("top", "--json").out)
    assert set(told) == {"at", "takes_writes", "why_not", "executors", "queue", "pace", "failures", "troubles"}
