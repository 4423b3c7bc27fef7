"""A table of statements that makes each trigger, and each function that takes many rows, process N rows at once.

tests/db/test_many_rows.py runs them, and fails for such a trigger or function in the catalog that no case calls: a new one needs a case
here. A case is one statement. Its rows are prepared by plain SQL in another session, where guards are off, so that no plan of the measured
session is invalidated. `$N` is the number of rows; sizes.made holds (n, id, user_id, other, claim_no, token), n from 1 (many_rows.sql).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

IDS = "select sizes.ids($N)"


@dataclass(frozen=True)
class Case:
    """`sql`: a statement that processes N rows, or a query that returns how many it processed. `before`: SQL that makes them. `takes`:
    SQL for the minimum number it must process, if that is not N. `claims`: JWT claims of the request. `most`: rows in one statement
    where 100,000 are too many."""

    name: str
    sql: str
    before: str = IDS
    takes: str = "$N"
    claims: str = ""
    most: int = 100_000


def jobs(like: str, users: int = 5000, then: str = "") -> str:
    """SQL for N jobs of `users` users in the state of one of the seeds (many_rows_bench.py)."""
    return f"select sizes.jobs('{like}', $N, {users}); {then}"


def rows(table: str, columns: str, values: str, make: str = IDS, then: str = "") -> str:
    return f"{make}; insert into {table} ({columns}) select {values} from sizes.made as m; {then}"


def call(function: str) -> str:
    return f"select count(*) from (select {function}) as called"


def each(function: str) -> str:
    return f"select count({function}) from sizes.made as m"


MADE = "(select id from sizes.made)"
ALL = "sizes.jobs_of_made()"
ONE = "sizes.one_of(0)"
HELD = f"{ALL}, (select array_agg(claim_no order by n) from sizes.made), (select array_agg(token order by n) from sizes.made)"
PEOPLE = "select sizes.people($N)"
SERVICE = '{"role": "service_role"}'


def submits(user: str = "user_id", more: str = "'{}'") -> str:
    return f"""ourvidz.submit_batch((select jsonb_agg(jsonb_build_object('user_id', {user}, 'job_type', 'sdxl_image_fast', 'prompt',
      'a lighthouse at dusk', 'idempotency_key', id::text, 'request', '{{}}'::jsonb) || {more}) from sizes.made))"""


MESSAGES = """(select jsonb_agg(jsonb_build_object('digest', encode(sha256(id::text::bytea), 'hex'), 'message', jsonb_build_object(
  'id', id, 'user_id', user_id, 'type', 'sdxl_image_fast', 'prompt', 'a lighthouse at dusk', 'config', '{}'::jsonb))) from sizes.made)"""
PLAIN = """insert into public.jobs (user_id, job_type, format, quality, model_type, metadata, status)
  select user_id, 'sdxl_image_fast', 'image', 'fast', 'sdxl', '{"prompt": "a lighthouse at dusk"}', 'queued' from sizes.made"""

BEGIN = (
    Case("submit", f"select count(*) from {submits()}", "select sizes.ids($N, 50)"),
    Case(
        "submit all different",
        "select count(*) from " + submits(more="jsonb_build_object('settings', jsonb_build_object('seed', n))"),
        "select sizes.ids($N, 50)",
    ),
    Case("submit again", f"select count(*) from {submits()} where not created", jobs("queued", 1)),
    Case("plain insert", PLAIN),
    # Each row advances its user's share, and has to find it among the versions that this transaction wrote (docs/decisions/0052).
    Case("plain insert of one user", PLAIN, "select sizes.ids($N, 1)", most=1_000),
    Case("intake", f"select jsonb_array_length(ourvidz.intake('sdxl_queue', {MESSAGES}))"),
    Case("intake of known jobs", f"select jsonb_array_length(ourvidz.intake('sdxl_queue', {MESSAGES}))", jobs("queued")),
    Case("intake refuses", f"select jsonb_array_length(ourvidz.intake('wan_queue', {MESSAGES}))"),
    Case(
        "intake records",
        call("""ourvidz.intake_record('sdxl_queue', (select jsonb_agg(jsonb_build_object('outcome', 'refused', 'message_id', id,
             'digest', encode(sha256(''), 'hex'), 'reason', 'OV009', 'field', 'prompt')) from sizes.made))"""),
        takes="1",
    ),
    Case(
        "intake forgets",
        "select ourvidz.intake_forget()",
        rows("ourvidz.intake_messages", "at, queue, outcome, digest", "'2020-01-01', 'sdxl_queue', 'drained', sha256('')"),
    ),
    *(
        Case(
            f"import what {word}",
            "select ourvidz.import_legacy()",
            """create table if not exists ourvidz.older_jobs (id uuid, user_id uuid, job_type text, status text, metadata jsonb,
                 created_at timestamptz, completed_at timestamptz, error_message text);
               delete from ourvidz.older_jobs; """
            + rows(
                "ourvidz.older_jobs",
                "id, user_id, job_type, status, metadata, created_at",
                f"id, user_id, 'sdxl_image_fast', '{status}', '{{\"prompt\": \"a lighthouse at dusk\"}}', '2025-01-01'",
                "select sizes.ids($N, 50)",
            ),
        )
        for word, status in (("waited", "queued"), ("ended", "completed"))
    ),
)

STEPS = (
    Case("claim", "select count(*) from ourvidz.claim(sizes.like('executor'), '{sdxl}', null, $N)", jobs("queued")),
    Case("advance", f"select count(*) from ourvidz.advance_batch({HELD}, 'generation_started')", jobs("held")),
    Case("annotate", f"select count(*) from ourvidz.advance_batch({HELD}, 'generation_repeated')", jobs("generating")),
    Case("complete", f"select count(*) from ourvidz.complete_batch({HELD})", jobs("uploading")),
    Case("complete films", f"select count(*) from ourvidz.complete_batch({HELD})", jobs("film at upload")),
    Case("fail each", each("ourvidz.fail(m.id, m.claim_no, m.token, 'out_of_memory', 'too large')"), jobs("held")),
    Case("refuse each", each("ourvidz.fail(m.id, m.claim_no, m.token, 'refused', 'no', false, true)"), jobs("uploading")),
    Case(
        "cancel in one go",
        call(f"ourvidz.append({ALL}, 'cancelled', array_fill('{{}}'::jsonb, array[$N]), 'person')"),
        jobs("queued"),
        takes="1",
    ),
    Case("cancel each", each("ourvidz.cancel(m.id)"), jobs("queued")),
    Case("retry each", each("ourvidz.retry(m.id)"), jobs("failed")),
    Case("reprioritise each", each("ourvidz.reprioritise(m.id, 1)"), jobs("queued")),
    Case("reroute each", each("ourvidz.reroute(m.id)"), jobs("queued")),
    Case("hide each", each("ourvidz.remove_from_library(m.id)"), jobs("completed")),
    Case("delete jobs", f"delete from public.jobs where id in {MADE}", jobs("completed"), takes="0", claims=SERVICE),
    Case("stop what waits", f"select ourvidz.stop_jobs({ONE}, 'age', 'login:test')", jobs("queued", 1)),
    Case("stop what runs", f"select ourvidz.stop_jobs({ONE}, 'age', 'login:test')", jobs("held", 1)),
    Case("an executor dies", "select ourvidz.declare_gone(sizes.like('other executor'), 'died')", jobs("held by another")),
    Case(
        "leases run out",
        "select lapsed from ourvidz.reap()",
        jobs("held by another", then="update ourvidz.executors set lease_until = '2020-01-01' where id = sizes.like('other executor')"),
    ),
    Case(
        "jobs are due",
        "select ourvidz.promote($N)",
        jobs("queued", then=f"update public.jobs set ready = false, run_at = '2020-01-01' where id in {MADE}"),
    ),
    Case(
        "no executor",
        "select ourvidz.reroute_stranded($N)",
        "update public.jobs set ready = false, run_at = 'infinity' where ready; update ourvidz.executors set lanes = '{wan}', "
        "lease_until = 'infinity'; update ourvidz.policy set reroute_after = 1; "
        + jobs("queued", then=f"update public.jobs set ready = true, run_at = '2020-01-01' where id in {MADE}"),
    ),
    Case(
        "beside events",
        f"update public.jobs set metadata = '{{\"a\": 1}}', error_message = 'x' where id in {MADE}",
        jobs("completed"),
    ),
)

_WRONG = f"update public.images set image_url = 'x' where job_id in {MADE}"
_NONE = f"delete from public.images where job_id in {MADE}"
LIBRARY = (
    Case("artifacts removed", call(f"ourvidz.artifacts_removed({ALL})"), jobs("refused"), takes="1"),
    Case("show pictures", call(f"ourvidz.sync_library({ALL})"), jobs("completed", then=_WRONG), takes="1"),
    Case("make rows of pictures", call(f"ourvidz.sync_library({ALL})"), jobs("completed", then=_NONE), takes="1"),
    Case(
        "show films",
        call(f"ourvidz.sync_library({ALL})"),
        jobs("film", then="update public.videos set video_url = 'x' where id in (select other from sizes.made)"),
        takes="1",
    ),
    Case("pictures of jobs change", f"update public.images set title = 'A' where job_id in {MADE}", jobs("completed")),
    Case("pictures of jobs go", f"delete from public.images where job_id in {MADE}", jobs("completed")),
    Case("pictures are approved", f"update public.images set moderation_status = 'approved' where job_id in {MADE}", jobs("completed")),
    Case("films of jobs go", "delete from public.videos where id in (select other from sizes.made)", jobs("film")),
    Case("artifacts are deleted", f"update public.artifacts set deleted_at = now() where job_id in {MADE}", jobs("completed")),
    Case(
        "public.artifacts: insert",
        """insert into public.artifacts (job_id, kind, index, claim_no, bucket, path, media_type, width, height, bytes, sha256, created_at)
           select id, 'image', 1, 1, 'sdxl_image_fast', 'x/' || id, 'image/png', 8, 8, 1, encode(sha256(id::text::bytea), 'hex'), now()
           from sizes.made""",
        jobs("completed"),
    ),
    Case(
        "fold",
        f"""select count(f) from (select ourvidz.fold(e order by version) as f from public.job_events as e
            where job_id in {MADE} group by job_id) as folded""",
        jobs("completed"),
    ),
    Case("timeline", "select count(*) from public.job_timeline", jobs("completed")),
    Case("durations", "select count(*) from public.job_durations", jobs("completed")),
    Case("queue depth", "select sum(ready) from public.queue_depth", jobs("queued")),
    Case("erase", f"select (ourvidz.erase_rows({ONE})->>'prompts')::integer", jobs("completed", 1)),
)

_TAKEN = (
    "ourvidz.taken_objects",
    "bucket, path, user_id, suspended, next_at",
    "'sdxl_image_fast', other || '/' || n, user_id, true, '2020-01-01'",
)
_REMOVALS = (
    "ourvidz.removals",
    "bucket, path, user_id, asked_at, next_at",
    "'sdxl_image_fast', other || '/' || n, user_id, now(), '2020-01-01'",
)
_SHA256 = "encode(sha256(id::text::bytea), 'hex')"
_SUSPENDED = f"""delete from ourvidz.suspensions;
  insert into ourvidz.suspensions (user_id, reason, since, by, sweep_at) values ({ONE}, 'spam', now(), 'login:test', now())"""
_BUCKETS = "array_fill('sdxl_image_fast'::text, array[$N])"
_PATHS = "array(select other || '/' || n from sizes.made)"
_MESSAGE = ("ourvidz.outbox", "id, receiver, job_id, job_version, status, created_at, next_at, delivered_at")
OBJECTS = (
    Case("suspend", call(f"ourvidz.suspend({ONE}, 'spam', 'login:test')"), jobs("completed", 1), takes="1"),
    Case("suspension lifted", f"select ourvidz.suspension_lift({ONE}, 'login:test')",
         rows(*_TAKEN, "select sizes.ids($N, 1)", _SUSPENDED), takes="1"),
    Case("suspension finds", call("""ourvidz.suspension_found((select id from ourvidz.suspensions limit 1), 'sdxl_image_fast',
         array(select user_id || '/' || other from sizes.made))"""), f"select sizes.ids($N, 1); {_SUSPENDED}", takes="1"),
    Case("a folder is listed", "select count(*) from ourvidz.suspensions_take(60)",
         _SUSPENDED + "; " + rows("ourvidz.suspensions", "user_id, reason, since, by, lifted_at, lifted_by",
              "user_id, 'spam', '2020-01-01', 'login:test', '2020-01-02', 'login:test'"), takes="1"),
    Case("taken down", "select count(*) from ourvidz.quarantine_lease($N, 60)", rows(*_TAKEN)),
    Case("moved away", call(f"ourvidz.quarantine_moved({_BUCKETS}, {_PATHS}, array_fill(true, array[$N]))"), rows(*_TAKEN), takes="1"),
    Case("removals taken", "select count(*) from ourvidz.removals_lease($N, 60)", rows(*_REMOVALS)),
    Case("removals done", call(f"ourvidz.removals_done({_BUCKETS}, {_PATHS})"), rows(*_REMOVALS), takes="1"),
    Case("hashes blocked", f"select ourvidz.block_add(array(select {_SHA256} from sizes.made), '{{}}', 'list', 'login:test')"),
    Case("hashes dropped", "select ourvidz.block_drop('list', 'login:test')",
         rows("ourvidz.blocked_hashes", "sha256, source, added_at", f"{_SHA256}, 'list', now()")),
    Case("reports forgotten", call("ourvidz.reports_forget($N)"), rows("ourvidz.reports",
         "id, category, valid, status, filed_at, due_at, closed_at",
         "id, (select name from ourvidz.report_rules limit 1), true, 'dismissed', '2020-01-01', '2020-01-02', '2020-01-02'"), takes="1"),
    Case("outbox again", "select ourvidz.outbox_redeliver(array(select other from sizes.made))",
         rows(*_MESSAGE, "other, 'sizes', id, 2, 'completed', now(), now(), now()")),
    Case("outbox pruned", "select ourvidz.outbox_prune()",
         rows(*_MESSAGE, "other, 'sizes', id, 2, 'completed', now(), now(), '2020-01-01'"), takes="least($N, 10000)"),
    Case("outbox taken", "select count(*) from ourvidz.outbox_take('sizes', 60)",
         rows(*_MESSAGE, "other, 'sizes', id, 2, 'completed', now(), '2020-01-01', null", jobs("completed")), takes="1"),
    Case("outbox due", "select sum(messages) from ourvidz.outbox_due()",
         rows(*_MESSAGE, "other, 'sizes', id, 2, 'completed', now(), '2020-01-01', null"), takes="least($N, 1000)"),
    Case("an enhancer asks", "select count(*) from ourvidz.enhancement_claim('enhancer')",
         rows("ourvidz.enhancement_requests", "user_id, style, prompt, asked_at", "user_id, 'sdxl', 'a lighthouse', now()"), takes="1"),
    Case("locks", call("ourvidz.lock_names('submit', array(select id::text from sizes.made))"), takes="1"),
)  # fmt: skip

_AGES = f"update public.profiles set age_verified = false where id in {MADE}"
_ENTRY = "insert into ourvidz.token_entries (user_id, account, amount, kind, key, reason, actor, at)"
_LEGS = "sizes.made cross join (values ('issued', -1), ('available', 1)) as leg (account, amount)"
USERS = (
    Case("tokens of many", f"{_ENTRY} select id, account, amount, 'grant', 'k', 'x', 'login:x', now() from {_LEGS}", PEOPLE, "2 * $N"),
    Case("tokens of one", f"{_ENTRY} select {ONE}, account, amount, 'grant', id::text, 'x', 'login:x', now() from {_LEGS}", takes="2 * $N"),
    Case("grant each", each("ourvidz.grant_tokens(m.id, 1, 'a test', 'k', 'login:test')"), PEOPLE),
    Case("ledger check", "select 1 + count(*) from ("
         + (resources.files("ourvidz.db") / "sql/queries/ledger_check.sql").read_text() + ") as wrong", jobs("completed"), takes="1"),
    Case("people come", """insert into public.profiles (id, age_verified, age_verified_until, subscription_status, token_balance)
         select id, true, '2999-01-01', 'free', 10 from sizes.made"""),
    Case("people go", f"delete from public.profiles where id in {MADE}", PEOPLE),
    Case("ages verified", f"update public.profiles set age_verified = true where id in {MADE}", f"{PEOPLE}; {_AGES}"),
    Case("ages taken back", _AGES, PEOPLE),
    Case("ages run out", call("ourvidz.age_expire($N)"), f"""{PEOPLE};
         update public.profiles set age_verified_until = '2020-01-01' where id in {MADE};
         insert into ourvidz.age_ends select id, '2020-01-01' from sizes.made""", takes="1"),
    Case("jobs of one who is verified", f"update public.profiles set age_verified = true where id = {ONE}", jobs("queued", 1,
         f"""update public.jobs set ready = false, run_at = null where id in {MADE};
             update public.profiles set age_verified = false where id = {ONE}"""), takes="1"),
    Case("stops that were left", call("ourvidz.stop_remaining($N)"),
         f"{PEOPLE}; insert into ourvidz.stops select id, 'age', 'login:test', now() from sizes.made", takes="1"),
    Case("shared users", call(f"ourvidz.intake_limit_users({ALL})"), takes="1"),
    Case("sign up", "insert into auth.users (id, email) select id, n || '@example.org' from sizes.made"),
    Case("roles", f"update auth.users set raw_app_meta_data = '{{\"role\": \"admin\"}}' where id in {MADE}",
         rows("auth.users", "id, email", "id, n || '@example.org'", PEOPLE)),
)  # fmt: skip


def table(name: str, columns: str, values: str, change: str = "", make: str = IDS) -> tuple[Case, ...]:
    """Insert, update and delete of a table's rows."""
    there = rows(name, columns, values, make)
    key = columns.partition(",")[0]
    return (
        Case(f"{name}: insert", f"insert into {name} ({columns}) select {values} from sizes.made as m", make),
        *((Case(f"{name}: update", f"update {name} set {change} where {key} in {MADE}", there),) if change else ()),
        Case(f"{name}: delete", f"delete from {name} where {key} in {MADE}", there),
    )


TABLES = (
    *table("public.characters", "id, user_id, name", "m.id, m.user_id, 'Ann'", "name = 'Bea'"),
    *table("public.projects", "id, user_id, title", "m.id, m.user_id, 'A film'", "title = 'A short film'"),
    *table("public.scenes", "id, project_id, scene_number, description", "m.id, m.other, 1, 'a lighthouse'", "description = 'a boat'",
           rows("public.projects", "id, user_id, title", "other, user_id, 'A film'")),
    *table("public.videos", "id, user_id, title", "m.id, m.user_id, 'A film'", "title = 'A short film'"),
    *table("public.images", "id, user_id, prompt", "m.id, m.user_id, 'a lighthouse'", "title = 'A picture'"),
    *table("public.usage_logs", "id, user_id, action", "m.id, m.user_id, 'x'", "action = 'y'"),
    *table("public.user_activity_log", "id, user_id, action", "m.id, m.user_id, 'x'", "action = 'y'"),
    *table("public.consents", "id, user_id, sha256, statement_version, attested_at",
           "m.id, m.user_id, encode(sha256(m.id::text::bytea), 'hex'), '1', now()"),
    *table("public.model_test_results", "id, user_id, model_type, prompt_text, test_series, test_tier",
           "m.id, m.user_id, 'SDXL', 'x', 'x', 'artistic'", "notes = 'y'"),
    *table("ourvidz.executors", "id, name, host, pid, lanes, started_at, beat_at, lease_until, called",
           "m.id, m.id::text, 'host', 1, '{sdxl}', now(), now(), now(), 'x'", "state = 'gone'"),
    Case("public.images: insert of jobs", """insert into public.images (user_id, job_id, prompt, image_index)
         select user_id, id, 'a lighthouse', 1 from sizes.made""", jobs("completed")),
    Case("ourvidz.screenings: insert", """insert into ourvidz.screenings (user_id, at, stage, allowed, policy_version)
         select user_id, now(), 'door', true, '2025-07+00000000' from sizes.made"""),
    Case("ourvidz.screenings: delete", "delete from ourvidz.screenings",
         rows(
             "ourvidz.screenings", "user_id, at, stage, allowed, policy_version", "user_id, now(), 'door', true, '2025-07+00000000'",
             "delete from ourvidz.screenings; " + IDS)),
)  # fmt: skip

CASES = (*BEGIN, *STEPS, *LIBRARY, *OBJECTS, *USERS, *TABLES)

ONE_BY_ONE = {
    **dict.fromkeys(
        ("events_append_only", "tokens_append_only", "moderation_append_only", "age_reviews_never_emptied",
         "jobs_never_deleted", "replica_guard",
         "videos_guard_insert"),
        "refuses the statement, or its first row",
    ),
    **dict.fromkeys(("image_reviewed", "now", "salt"), "reads no table that grows"),
    "rows_gone on ourvidz.age_reviews": "only the erasure of one user deletes those",
    "a_bounds on system_config": "one row",
    **dict.fromkeys(("read_names", "read_settings"), "a part of the statement of normalise_requests, which submit calls"),
    **dict.fromkeys(("check_executor_info", "register", "heartbeat", "lane_order", "set_limits", "receiver_set"), "takes a few names"),
    **dict.fromkeys(("is_blocked", "copies_of", "block_output", "check_blocked", "job_texts"), "of one job"),
    "refuse_events_out_of_order": "reads one row",
    **dict.fromkeys(("advance_sequences", "next_xid_offset", "restored", "stay_quiet"), "once, after a restore or a move (test_restored)"),
    **dict.fromkeys(
        ("erasure_unhandled_rows", "drop_storage_leaks", "realtime_leaks", "storage_attempt", "storage_callers", "storage_leaks",
      "storage_policies",
         "storage_trial"),
        "reads catalogs, or tries a few rows",
    ),
}  # fmt: skip
"""Triggers and functions that no case calls, each with the reason: its input is bounded, or it handles one row."""
