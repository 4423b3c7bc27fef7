-- Tables of the job state machine. Functions, triggers, views and the copies of the Python tables are applied after each upgrade
-- (ourvidz/db/schema_files.py), so this file holds only tables. The product's tables (profiles, projects, videos …) exist already:
-- ourvidz/db/sql/reconcile creates them, or adapts those of a legacy system, before the numbered migrations run.

create schema if not exists ourvidz;
revoke all on schema ourvidz from public;
comment on schema ourvidz is 'What executors and operators call; not exposed by PostgREST.';

-- The hot row: only what a claim, a guard or a list reads. Every step rewrites it, so users' texts are in job_payloads, and the low
-- fillfactor leaves room for heap-only updates between claim and end.
create table public.jobs (
  id               uuid primary key,
  status           text not null check (status in
                     ('queued', 'enhancing', 'generating', 'uploading', 'completed', 'failed', 'cancelled')),
  version          integer not null check (version > 0),
  head_hash        bytea not null check (length(head_hash) = 32),
  submitted_on     date not null,
  user_id          uuid not null,
  job_type         text not null,
  lane             text not null,
  project_id       uuid,
  video_id         uuid,
  image_id         uuid,
  priority         smallint not null check (priority between 0 and 7),
  rank             double precision not null,
  ready            boolean,
  run_at           timestamptz,
  claim_no         bigint not null check (claim_no >= 0),
  executor_id      uuid,
  claimed_at       timestamptz,
  deadline         timestamptz,
  attempts         integer not null check (attempts >= 0),
  errors           integer not null,
  crashes          integer not null,
  device_crashes   integer not null,
  crashed_on       text,
  snoozes          integer not null,
  cancel_requested boolean not null,
  error_class      text,
  final            boolean not null,
  enhanced         boolean not null,
  generated        integer not null,
  uploaded         integer not null,
  created_at       timestamptz not null,
  updated_at       timestamptz not null,
  completed_at     timestamptz,
  check (executor_id is null or (status in ('queued', 'enhancing', 'generating', 'uploading') and deadline is not null)),
  check (status not in ('enhancing', 'generating', 'uploading') or executor_id is not null),
  check ((ready is null) = (status <> 'queued' or executor_id is not null)),
  check ((completed_at is null) = (status not in ('completed', 'failed', 'cancelled')))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
comment on column public.jobs.rank is 'Place in the lane''s order: start-time fair queueing between users, plus what priority lets pass.';
comment on column public.jobs.ready is 'True: may be claimed. False: waits for run_at. Null: held or ended. The one column no event tells.';

-- An unfinished job is in one of these three indexes, a finished one in none: finished jobs do not slow claims down.
create index jobs_claim on public.jobs (lane, rank, run_at) where ready;  -- equal ranks: first come, first served
create index jobs_waiting_longest on public.jobs (lane, run_at) where ready;
create index jobs_due on public.jobs (run_at) where not ready;
create index jobs_held on public.jobs (executor_id, deadline) where executor_id is not null;
create index jobs_deadline on public.jobs (deadline) where executor_id is not null;
create index jobs_of_user on public.jobs (user_id, created_at desc);
create index jobs_recent on public.jobs (created_at desc);
create index jobs_error on public.jobs (error_class, completed_at) where error_class is not null and completed_at is not null;

-- A user's text and what was made of it: written once; erased with its salt, while the chain of events still verifies.
create table public.job_payloads (
  job_id          uuid primary key references public.jobs,
  user_id         uuid not null,
  prompt          text not null check (length(prompt) between 1 and 4000),
  negative_prompt text check (length(negative_prompt) <= 2000),
  settings        jsonb not null check (jsonb_typeof(settings) = 'object'),
  metadata        jsonb not null default '{}',
  salt            bytea not null,
  body_digest     bytea not null,
  idempotency_key text check (length(idempotency_key) between 1 and 200),
  enhanced_prompt text,
  error_message   text
);
create unique index job_payloads_idempotency on public.job_payloads (user_id, idempotency_key) where idempotency_key is not null;

-- Append-only. The key includes the submission date so that the table can be partitioned by time later: a partitioned table's unique keys
-- must contain the partition key. No foreign key to jobs: the trigger that applies an event finds its job, under its lock.
create table public.job_events (
  seq          bigint generated always as identity,
  xid          xid8 not null default pg_current_xact_id(),
  submitted_on date not null,
  job_id       uuid not null,
  version      integer not null,
  type         text not null,
  from_status  text,
  to_status    text not null,
  claim_no     bigint,
  actor        text not null check (actor ~ '^[a-z]+(:[A-Za-z0-9._-]{1,80})?$'),
  occurred_at  timestamptz not null,
  data         jsonb not null default '{}',
  prev_hash    bytea not null,
  hash         bytea not null,
  primary key (job_id, version, submitted_on)
);
-- Identity values are not assigned in commit order: a reader's cursor is (xid, seq) below the oldest running transaction.
create index job_events_cursor on public.job_events (xid, seq);

create table public.artifacts (
  job_id       uuid not null references public.jobs,
  index        smallint not null check (index >= 0),
  kind         text not null check (kind in ('image', 'video', 'thumbnail')),
  claim_no     bigint not null,
  seed         bigint,
  bucket       text not null,
  path         text not null,
  media_type   text not null,
  width        integer not null,
  height       integer not null,
  frames       integer,
  bytes        bigint not null check (bytes > 0),
  sha256       text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  spool        text,  -- host that still has the bytes, until they are uploaded
  uploaded_at  timestamptz,
  created_at   timestamptz not null,
  metadata     jsonb not null default '{}',
  primary key (job_id, kind, index),
  unique (bucket, path)
);

-- One small row per executor, rewritten by its heartbeat; never a write per job.
create table ourvidz.executors (
  id          uuid primary key default gen_random_uuid(),
  name        text not null check (name ~ '^[A-Za-z0-9._-]{1,80}$'),
  host        text not null,
  pid         integer not null,
  lanes       text[] not null,
  resident    text[] not null default '{}',
  state       text not null default 'active' check (state in ('active', 'draining', 'gone')),
  waiting     boolean not null default false,
  lane        text,
  lane_since  timestamptz,
  started_at  timestamptz not null,
  beat_at     timestamptz not null,
  lease_until timestamptz not null,
  secret      uuid not null default gen_random_uuid(),
  info        jsonb not null default '{}'
) with (fillfactor = 50);
comment on column ourvidz.executors.secret is 'Claims'' tokens are drawn from it (ourvidz.claim_token); it never leaves the database.';

-- The position of each user's next job in a lane's fair order.
create table ourvidz.shares (
  user_id uuid not null,
  lane    text not null,
  finish  double precision not null,
  primary key (user_id, lane)
) with (fillfactor = 70);
create index shares_latest on ourvidz.shares (lane, finish desc);

-- Copies of the Python tables; `ourvidz migrate` keeps them equal.
create table ourvidz.event_types (
  name text primary key,
  keys text[] not null
);
create table ourvidz.transitions (
  event  text not null references ourvidz.event_types,
  source text,
  target text not null,
  before text not null check (before in ('held', 'free', 'any')),
  after  text not null check (after in ('takes', 'keeps', 'ends')),
  keys   text[] not null,  -- the event type's, repeated: saves events_apply one table at every step
  unique nulls not distinct (event, source, target)
);
create table ourvidz.job_types (
  name       text primary key,
  family     text not null,
  queue      text not null,
  fast       boolean not null,
  video      boolean not null,
  enhance    boolean not null,
  init_image boolean not null,
  time_limit integer not null,
  price      integer not null,
  backoff_scale double precision not null,
  defaults   jsonb not null,
  limits     jsonb not null
);
create table ourvidz.plans (
  name               text primary key,
  level              smallint not null,
  weight             integer not null,
  unfinished         integer not null,
  submits_per_minute integer not null
);
create table ourvidz.policy (
  only_row            boolean primary key default true check (only_row),
  max_attempts        integer not null,
  backoff_base        double precision not null,
  backoff_factor      double precision not null,
  backoff_max         double precision not null,
  backoff_jitter      double precision not null,
  lease               double precision not null,
  heartbeat           double precision not null,
  control_poll        double precision not null,
  step_stall          double precision not null,
  load_stall          double precision not null,
  crash_limit         integer not null,
  lapse_limit         integer not null,
  affinity_wait       double precision not null,
  overdue_wait        double precision not null,
  overdue_share       double precision not null,
  enhance_limit       double precision not null,
  spool_bytes         bigint not null,
  executor_forgotten  double precision not null
);
-- Default deny: whoever is neither the owner nor admitted by a policy sees nothing. policies.sql has the policies of the API roles.
alter table public.profiles enable row level security;
alter table public.jobs enable row level security;
alter table public.job_payloads enable row level security;
alter table public.job_events enable row level security;
alter table public.artifacts enable row level security;

-- Types of the functions' arguments and results.
create type ourvidz.asked_job as (
  ord bigint, id uuid, user_id uuid, job_type text, lane text, idempotency_key text, priority integer, run_at timestamptz,
  prompt text, negative_prompt text, settings jsonb, metadata jsonb, project_id uuid, video_id uuid, image_id uuid, body_digest bytea
);
create type ourvidz.claimed_job as (
  job_id uuid, claim_no bigint, token uuid, user_id uuid, job_type text, lane text, prompt text, negative_prompt text,
  settings jsonb, metadata jsonb, enhanced_prompt text, artifacts jsonb, attempts integer, deadline timestamptz, claimed_at timestamptz
);
