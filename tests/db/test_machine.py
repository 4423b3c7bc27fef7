"""Random lives of jobs on real Postgres. After every step each changed job is folded from its events, in Python and in SQL, and must equal
its row; a lost claim must change nothing.

`OURVIDZ_MACHINE_EXAMPLES` sets the number of examples (of 50 steps each).
"""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from random_jobs import live
from sizes import size
from support import LANES, Clock, Permissive, Server, artifact, as_event, as_job, new_user

from ourvidz.db.connection import Database
from ourvidz.lifecycle import Claim, Jobs, NewJob
from state.errors import ExecutorGone, FinalFailure, IllegalTransition, InvalidJob, StaleClaim
from state.events import GENESIS, event_hash
from state.job import FOLDED, fold
from state.machine import ENDED, TRANSITIONS, Status
from state.machine import Claim as Held
from state.policy import FALLBACKS, POLICY

LEGAL = {(t.event, t.source, t.target): t for t in TRANSITIONS}
REMARKS = ("enhancement_skipped", "reference_skipped", "generation_repeated")
STEPS = ("enhancement_started", "generation_started", "upload_started", *REMARKS)
TYPES = ("sdxl_image_fast", "image7b_fast_enhanced", "video_high")
NAMES = itertools.count()

MOVED = """
  select to_jsonb(j) - 'ready' as row, j.*, 
         (select to_jsonb(ourvidz.fold(e order by e.version)) - 'ready' from public.job_events as e where e.job_id = j.id) as folded
  from public.jobs as j where j.id = any (%s::uuid[])"""
HISTORY = """
  select job_id, version, type, from_status, to_status, claim_no, actor, occurred_at, data, data::text as data_text, prev_hash, hash
  from public.job_events where job_id = any (%s::uuid[]) order by job_id, version"""
anything = st.integers(0, 4_000)


STEPS_TO_TAKE: list[tuple[str, int, str | None, dict[str, st.SearchStrategy[Any]]]] = [
    # method, weight, list that must not be empty, arguments
    (
        "submit",
        2,
        None,
        {"n": st.integers(1, 4), "user": anything, "kind": st.sampled_from(TYPES), "delay": st.sampled_from([0, 0, 0, 45, 3600])},
    ),
    ("claim", 5, None, {"executor": anything, "limit": st.integers(1, 3), "resident": st.sampled_from([(), ("sdxl",), ("wan", "sdxl")])}),
    ("advance", 3, "claims", {"which": anything, "event": st.sampled_from(STEPS)}),
    ("proceed", 8, "claims", {"which": anything, "steps": st.integers(1, 5)}),
    ("artifact_generated", 1, "claims", {"which": anything, "index": st.integers(0, 2)}),
    ("artifact_uploaded", 1, "claims", {"which": anything}),
    ("enhanced", 1, "claims", {"which": anything}),
    ("complete", 1, "claims", {"which": anything}),
    ("fail", 2, "claims", {"which": anything, "retryable": st.booleans(), "final": st.booleans()}),
    ("snooze", 1, "claims", {"which": anything, "delay": st.sampled_from([0.0, 30.0])}),
    ("honour_cancel", 1, "claims", {"which": anything}),
    ("cancel", 1, "versions", {"which": anything}),
    ("retry", 2, "versions", {"which": anything}),
    ("reprioritise", 1, "versions", {"which": anything, "priority": st.integers(0, 7)}),
    ("reroute", 1, "versions", {"which": anything}),
    ("time_passes", 2, None, {"seconds": st.sampled_from([0.5, 1, 2, 7, 31, 61, 700, 4000, -1, -20, -900])}),
    ("heartbeat", 1, None, {"executor": anything}),
    ("reap", 2, None, {}),
    ("executor_dies", 1, None, {"executor": anything}),
]
# One rule that draws a step instead of a rule for each: Hypothesis disables some rules in each example (swarm testing), and with eighteen
# of them few jobs would ever be claimed, let alone completed.
one_step = st.sampled_from([step for step in STEPS_TO_TAKE for _ in range(step[1])]).flatmap(
    lambda step: st.tuples(st.just(step[0]), st.just(step[2]), st.fixed_dictionaries(step[3]))
)


class Lives(RuleBasedStateMachine):
    database: ClassVar[Database]
    steps: ClassVar[int] = 0

    @initialize(users=st.integers(1, 3))
    def begin(self, users: int) -> None:
        self.jobs = Jobs(self.database, Permissive(), patience=5)
        self.clock = Clock(self.database)
        self.users = [new_user(self.database, plan) for plan in ("free", "pro", "premium")[:users]]
        self.executors = [self._new_executor(), self._new_executor()]
        self.versions: dict[str, int] = {}  # as of the last check
        self.claim_nos: dict[str, int] = {}
        self.claims: list[Claim] = []  # all claims, newest last
        self.artifacts: dict[str, list[dict[str, Any]]] = {}

    def _new_executor(self) -> str:
        return self.jobs.register(f"gpu{next(NAMES)}", "host", 1, LANES)

    # -- steps --------------------------------------------------------------------------------------------------------------------

    def submit(self, n: int, user: int, kind: str, delay: float) -> None:
        at = self.clock.at + timedelta(seconds=delay) if delay else None
        wanted = [NewJob(self.users[user % len(self.users)], kind, f"a lighthouse {i}", run_at=at) for i in range(n)]
        for done in self.jobs.submit_many(wanted):
            assert done.created
            self.versions[done.id] = self.claim_nos[done.id] = 0
        self.check()

    def claim(self, executor: int, limit: int, resident: tuple[str, ...]) -> None:
        me = self.alive(executor)
        held_before = set(self.jobs.held(me))
        found = self.jobs.claim(me, resident=resident, limit=limit)
        assert len(found) <= limit and not held_before & {c.job_id for c in found}
        for one in found:
            assert one.claim_no > self.claim_nos[one.job_id], "a claim number came twice"
            assert one.token not in {c.token for c in self.claims}
        self.claims += found
        self.check()

    def advance(self, which: int, event: str) -> None:
        job = self.pick(which)
        # A repeated remark of this claim gets the same answer, whatever came after: the first answer may have been lost.
        said = event in REMARKS and self.database.rows(
            "select 1 from public.job_events where job_id = %s and claim_no = %s and type = %s", (job.job_id, job.claim_no, event)
        )
        self.write(which, event, lambda job: self.jobs.advance(job, event), harmless=bool(said))

    def proceed(self, which: int, steps: int) -> None:
        """Takes the regular steps towards completion: by chance alone few jobs would get far."""
        for _ in range(steps):
            job = self.pick(which)
            where = self.claims.index(job) * 4  # multiples of 4 index all claims, live or not
            status = self.row(job.job_id)["status"]
            waiting = [a for a in self.artifacts.get(job.job_id, ()) if not a.get("uploaded")]
            if status == "queued":
                self.advance(where, "enhancement_started" if which % 2 else "generation_started")
            elif status == "enhancing":
                self.enhanced(where)
                self.advance(where, "generation_started")
            elif status == "generating" and not waiting:
                self.artifact_generated(where, 0)
            elif status == "generating":
                self.advance(where, "upload_started")
            elif waiting:
                self.artifact_uploaded(where)
            else:
                self.complete(where)

    def artifact_generated(self, which: int, index: int) -> None:
        def act(job: Claim) -> None:
            made = artifact(job, index, content=str(job.claim_no))
            known = self.artifacts.setdefault(job.job_id, [])
            old = next((a for a in known if a["index"] == index), None)
            version = self.row(job.job_id)["version"]
            self.jobs.artifact_generated(job, made)
            if old and (old.get("uploaded") or old["sha256"] == made["sha256"]):
                assert self.row(job.job_id)["version"] == version  # repeated, written once
            else:
                known[:] = [a for a in known if a is not old] + [made]

        row = self.row(self.pick(which).job_id)
        # An output that is already recorded gets the same answer in any status.
        old = next((a for a in self.artifacts.get(self.pick(which).job_id, ()) if a["index"] == index), None)
        repeated = bool(
            old and (old.get("uploaded") or old["sha256"] == artifact(self.pick(which), index, content=str(row["claim_no"]))["sha256"])
        )
        self.write(which, "artifact_generated", act, harmless=repeated)

    def artifact_uploaded(self, which: int) -> None:
        waiting = [a for a in self.artifacts.get(self.pick(which).job_id, ()) if not a.get("uploaded")]
        if waiting:

            def act(job: Claim) -> None:
                self.jobs.artifact_uploaded(job, "image", waiting[0]["index"], waiting[0]["sha256"])
                waiting[0]["uploaded"] = True

            self.write(which, "artifact_uploaded", act)

    def enhanced(self, which: int) -> None:
        done = self.row(self.pick(which).job_id)["enhanced"]
        self.write(which, "prompt_enhanced", lambda job: self.jobs.enhanced(job, "much more", seconds=1.5, tokens=9), harmless=done)

    def complete(self, which: int) -> None:
        waiting = any(not a.get("uploaded") for a in self.artifacts.get(self.pick(which).job_id, ()))
        self.write(which, "nothing" if waiting else "completed", self.jobs.complete)

    def fail(self, which: int, retryable: bool, final: bool) -> None:
        row = self.row(self.pick(which).job_id)
        again = retryable and not final and row["errors"] + 1 < POLICY.max_attempts
        event = "cancelled" if row["cancel_requested"] and not final else "retry_scheduled" if again else "failed"

        def act(job: Claim) -> None:
            assert self.jobs.fail(job, "out_of_memory", "No memory.", retryable=retryable, final=final) == event

        self.write(which, event, act)

    def snooze(self, which: int, delay: float) -> None:
        row = self.row(self.pick(which).job_id)
        self.write(which, "cancelled" if row["cancel_requested"] else "snoozed", lambda job: self.jobs.snooze(job, "drain", delay))

    def honour_cancel(self, which: int) -> None:
        asked = self.row(self.pick(which).job_id)["cancel_requested"]
        self.write(which, "cancelled" if asked else "nothing", self.jobs.honour_cancel)

    def cancel(self, which: int) -> None:
        job_id = list(self.versions)[which % len(self.versions)]
        row = self.row(job_id)
        try:
            said = self.jobs.cancel(job_id, version=row["version"])
        except IllegalTransition:
            assert row["status"] in ("completed", "failed")
        else:
            assert said == ("cancel_requested" if row["executor_id"] else "cancelled")
        self.check()

    def retry(self, which: int) -> None:
        job_id = list(self.versions)[which % len(self.versions)]
        row = self.row(job_id)
        try:
            self.jobs.retry(job_id, version=row["version"])
        except IllegalTransition:
            assert row["status"] not in ("failed", "cancelled")
        except FinalFailure:
            assert row["final"]
        else:
            assert row["status"] in ("failed", "cancelled") and not row["final"]
            assert self.row(job_id)["claim_no"] == row["claim_no"]
        self.check()

    def reprioritise(self, which: int, priority: int) -> None:
        job_id = list(self.versions)[which % len(self.versions)]
        row = self.row(job_id)
        try:
            self.jobs.reprioritise(job_id, priority)
        except IllegalTransition:
            assert row["status"] != "queued" or row["executor_id"]
        else:
            assert row["status"] == "queued" and row["executor_id"] is None
        self.check()

    def reroute(self, which: int) -> None:
        job_id = list(self.versions)[which % len(self.versions)]
        row = self.row(job_id)
        made = self.database.rows("select 1 from public.artifacts where job_id = %s", (job_id,))
        before = self.everything(job_id)
        try:
            self.jobs.reroute(job_id, version=row["version"])
        except IllegalTransition:
            assert row["status"] != "queued" or row["executor_id"]
            assert self.everything(job_id) == before
        except InvalidJob:
            assert row["job_type"] not in FALLBACKS or made
            assert self.everything(job_id) == before
        else:
            assert row["status"] == "queued" and row["executor_id"] is None and not made
            after = self.row(job_id)
            assert (after["job_type"], after["lane"], after["ready"]) == (FALLBACKS[row["job_type"]], "wan", row["ready"])
        self.check()

    def time_passes(self, seconds: float) -> None:
        """The clock may also be set back: by a person, or by a failover to a machine whose clock is behind."""
        self.clock.advance(seconds)

    def heartbeat(self, executor: int) -> None:
        self.alive(executor)

    def alive(self, executor: int) -> str:
        """An executor with a lease: the chosen one after a heartbeat, or its successor if it was declared gone."""
        place = executor % len(self.executors)
        try:
            self.jobs.heartbeat(self.executors[place], resident=["sdxl"])
        except ExecutorGone:
            self.executors[place] = self._new_executor()
        return self.executors[place]

    def reap(self) -> None:
        self.jobs.reap()
        self.check()
        assert not self.database.rows(
            """select 1 from public.jobs as j left join ourvidz.executors as e on e.id = j.executor_id
               where j.user_id = any (%s::uuid[]) and j.executor_id is not null
                 and (e.id is null or e.state = 'gone' or e.lease_until <= ourvidz.now() or j.deadline <= ourvidz.now())""",
            (self.users,),
        )

    def executor_dies(self, executor: int) -> None:
        self.jobs.executor_gone(self.executors[executor % len(self.executors)])
        assert not self.jobs.held(self.executors[executor % len(self.executors)])
        self.check()

    @rule(step=one_step)
    def step(self, step: tuple[str, str | None, dict[str, Any]]) -> None:
        name, needed, arguments = step
        type(self).steps += 1
        if needed is None or getattr(self, needed):
            getattr(self, name)(**arguments)
        else:
            self.submit(2, 0, TYPES[0], 0)
            self.claim(0, 1, ())

    # -- invariants ---------------------------------------------------------------------------------------------------------------

    def pick(self, which: int) -> Claim:
        """One time in four any claim ever given; otherwise a live one if there is one, as most claims soon become stale."""
        if which % 4:
            held = self.database.rows(
                "select id, claim_no from public.jobs where executor_id is not null and user_id = any (%s::uuid[])", (self.users,)
            )
            live = {(str(r["id"]), r["claim_no"]) for r in held}
            if found := [c for c in self.claims if (c.job_id, c.claim_no) in live]:
                return found[which // 4 % len(found)]
        return self.claims[which // 4 % len(self.claims)]

    def row(self, job_id: str) -> dict[str, Any]:
        return self.database.rows("select * from public.jobs where id = %s", (job_id,))[0]

    def write(self, which: int, event: str, act: Any, *, harmless: bool = False) -> None:
        """Write with a possibly stale claim: only a live claim may write, and only what the transition table allows."""
        job = self.pick(which)
        row = self.row(job.job_id)
        if row["claim_no"] != job.claim_no or row["executor_id"] is None:
            before = self.everything(job.job_id)
            with pytest.raises(StaleClaim):
                act(job)
            assert self.everything(job.job_id) == before
            return
        legal = any((event, row["status"], target) in LEGAL for target in Status)
        if legal or harmless:
            act(job)
        else:
            before = self.everything(job.job_id)
            with pytest.raises(IllegalTransition):
                act(job)
            assert self.everything(job.job_id) == before
        self.check()

    def everything(self, job_id: str) -> list[Any]:
        tables = (
            "public.jobs where id",
            "public.job_events where job_id",
            "public.job_payloads where job_id",
            "public.artifacts where job_id",
        )
        return [self.database.rows(f"select * from {table} = %s order by 1, 2", (job_id,)) for table in tables]

    def check(self) -> None:
        """Check every job that changed since the last check."""
        now = self.database.rows("select id, version from public.jobs where user_id = any (%s::uuid[])", (self.users,))
        moved = [str(r["id"]) for r in now if r["version"] != self.versions.get(str(r["id"]))]
        assert len(now) == len(self.versions), "a job came or went unasked"
        if not moved:
            return
        history: dict[str, list[Any]] = {job_id: [] for job_id in moved}
        for r in self.database.rows(HISTORY, (moved,)):
            history[str(r["job_id"])].append(as_event(r))
        for r in self.database.rows(MOVED, (moved,)):
            job_id, told = str(r["id"]), history[str(r["id"])]
            assert fold(told, job_id) == as_job(r), "Python's fold is not the row"
            assert {k: r["folded"][k] for k in FOLDED} == {k: r["row"][k] for k in FOLDED}, "the database's fold is not the row"
            assert [e.version for e in told] == list(range(1, r["version"] + 1)), "versions have a gap"
            for prev, e in zip([None, *told], told, strict=False):
                assert e.prev_hash == (prev.hash if prev else GENESIS) and e.hash == event_hash(e), "the chain does not verify"
                assert (e.type, e.from_status, e.to_status) in LEGAL
                assert prev is None or (e.from_status is prev.to_status and e.occurred_at >= prev.occurred_at)
            assert r["claim_no"] >= self.claim_nos[job_id], "a claim number shrank"
            claimed = [e.claim_no for e in told if e.type == "claimed"]
            assert claimed == list(range(1, r["claim_no"] + 1)), "claim numbers do not grow one by one"
            self.one_owner(told)
            assert r["attempts"] >= 0 and r["generated"] >= 0
            self.versions[job_id], self.claim_nos[job_id] = r["version"], r["claim_no"]

    def one_owner(self, told: list[Any]) -> None:
        """No claim is taken before the previous one ends: never two live claims."""
        owner = None
        for e in told:
            after = LEGAL[e.type, e.from_status, e.to_status].after
            assert not (after is Held.TAKES and owner), "claimed while another claim was live"
            owner = e.claim_no if after is Held.TAKES else None if after is Held.ENDS else owner

    def teardown(self) -> None:
        """The next example uses the same database: leave nothing claimable."""
        if hasattr(self, "executors"):
            for r in self.database.rows("select id from ourvidz.executors where state <> 'gone'"):
                self.jobs.executor_gone(str(r["id"]))
            for job_id in self.versions:
                if self.row(job_id)["status"] not in ENDED:
                    assert self.jobs.cancel(job_id) == "cancelled"
            self.check()


@pytest.mark.slow
@pytest.mark.sized
@pytest.mark.timeout(3600)
def test_random_lives(server: Server, template: str) -> None:
    name = server.create(template)
    Lives.database = Database(server.url(name))
    try:
        live(Lives, examples=size(12, 100), steps=50)
        (told,) = Lives.database.rows(
            "select count(*) as events, count(distinct job_id) as jobs, count(distinct type) as types from public.job_events"
        )
        ended = {r["status"] for r in Lives.database.rows("select distinct status from public.jobs")}
        # All ends were reached, in enough steps.
        assert {"completed", "failed", "cancelled"} <= ended and told["types"] >= 16, (told, ended)
        assert Lives.steps >= size(400, 4_000)
    finally:
        Lives.database.close()
        server.drop(name)
