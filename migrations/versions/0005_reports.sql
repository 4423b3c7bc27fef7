-- Reports of outputs, takedowns, blocked hashes, suspensions and appeals (docs/decisions/0044).

-- Copies of state/reports.py.
create table if not exists ourvidz.report_rules (
  name     text primary key,
  label    text not null,
  deadline double precision not null,
  hides    text not null check (hides in ('always', 'valid', 'never')),
  per_hour integer not null,
  signed   boolean not null
);
create table if not exists ourvidz.report_moves (
  verb   text not null,
  source text not null,
  target text not null,
  output text check (output in ('hidden', 'restored', 'blocked')),
  primary key (verb, source)
);

alter table ourvidz.policy
  add column if not exists reports_a_day integer not null default 10,
  add column if not exists report_hides_a_day integer not null default 3,
  add column if not exists report_kept double precision not null default 31536000,
  add column if not exists pdq_distance integer not null default 31;
alter table ourvidz.policy add column if not exists report_url text check (report_url ~ '^https?://[^[:space:]]+$' and length(report_url) <= 500);
comment on column ourvidz.policy.report_url is 'Where anyone reports an output; set by `migrate` where it is null and SUPABASE_URL is known.';
comment on column ourvidz.policy.report_hides_a_day is 'How many outputs the valid requests of one source hide by themselves in a day; more wait for a person.';
comment on column ourvidz.policy.report_kept is 'Seconds that texts and contacts of decided reports are kept.';

-- Counted per source, a salted hash of an address. A day's salt is deleted two days later: from then on a hash identifies nobody.
create table if not exists ourvidz.report_salts (day date primary key, salt bytea not null);
create table if not exists ourvidz.report_sources (
  day    date not null,
  source text not null check (source ~ '^[0-9a-f]{64}$'),
  filed  integer not null default 0,
  hides  integer not null default 0,
  primary key (day, source)
);

-- One row per output that was ever reported or taken down. `subject`: output:JOB:KIND:INDEX, or image:ROW or video:ROW for outputs of the
-- legacy system, which have no artifacts.
create table if not exists ourvidz.takedowns (
  subject  text primary key check (subject ~ '^(output:[0-9a-f-]{36}:(image|video):[0-9]{1,3}|(image|video):[0-9a-f-]{36})$'),
  user_id  uuid not null,
  job_id   uuid,
  kind     text not null check (kind in ('image', 'video')),
  index    smallint not null default 0,
  row_id   uuid,
  state    text not null default 'reported' check (state in ('reported', 'hidden', 'restored', 'blocked')),
  reviewed boolean not null default false,
  cause    text check (cause ~ '^[a-z_]{1,40}$'),
  since    timestamptz not null
);
create index if not exists takedowns_of_job on ourvidz.takedowns (job_id) where job_id is not null;
create index if not exists takedowns_of_row on ourvidz.takedowns (row_id) where row_id is not null;
create index if not exists takedowns_of_user on ourvidz.takedowns (user_id);
comment on column ourvidz.takedowns.reviewed is 'A person has decided: no report hides it by itself again.';

-- Reports without their senders' texts, which are in report_payloads.
create table if not exists ourvidz.reports (
  id        uuid primary key,
  category  text not null references ourvidz.report_rules,
  subject   text references ourvidz.takedowns,
  user_id   uuid,
  valid     boolean not null,
  status    text not null default 'filed' check (status in ('filed', 'seen', 'dismissed', 'upheld')),
  filed_at  timestamptz not null,
  due_at    timestamptz not null,
  closed_at timestamptz,
  forgotten boolean not null default false,
  check ((closed_at is null) = (status in ('filed', 'seen')))
);
create index if not exists reports_open on ourvidz.reports (due_at) where closed_at is null;
create index if not exists reports_of_subject on ourvidz.reports (subject) where subject is not null;
create index if not exists reports_of_user on ourvidz.reports (user_id) where user_id is not null;
create index if not exists reports_filed on ourvidz.reports (category, filed_at);
create index if not exists reports_closed on ourvidz.reports (closed_at) where closed_at is not null and not forgotten;
comment on column ourvidz.reports.subject is 'Null: the link or id names no output of ours.';
comment on column ourvidz.reports.user_id is 'Whose output it is.';

create table if not exists ourvidz.report_payloads (
  id        uuid primary key,  -- of a report or of an appeal
  user_id   uuid,              -- owner of the output, or the appellant: an erasure deletes it
  contact   text check (length(contact) <= 254),
  signature text check (length(signature) <= 200),
  said      text check (length(said) <= 4000),
  named     text check (length(named) <= 500)
);
create index if not exists report_payloads_of_user on ourvidz.report_payloads (user_id) where user_id is not null;
comment on column ourvidz.report_payloads.named is 'The link or id as it was given, where it names no output of ours.';

-- Who did what to which report, output, user or appeal. Append-only; only ids, codes and times.
create table if not exists ourvidz.moderation_events (
  id        bigint generated always as identity primary key,
  at        timestamptz not null,
  type      text not null check (type in ('filed', 'seen', 'hidden', 'restored', 'blocked', 'dismissed', 'upheld', 'reopened', 'forgotten',
                                          'suspended', 'lifted', 'appealed', 'appeal_granted', 'appeal_denied', 'hash_added', 'hash_removed')),
  actor     text not null check (actor ~ '^[A-Za-z0-9._:-]{1,120}$'),
  report_id uuid,
  subject   text,
  user_id   uuid,
  appeal_id uuid,
  reason    text check (reason ~ '^[a-z_]{1,40}$')
);
create index if not exists moderation_events_of_report on ourvidz.moderation_events (report_id, id) where report_id is not null;
create index if not exists moderation_events_of_subject on ourvidz.moderation_events (subject, id) where subject is not null;
create index if not exists moderation_events_of_user on ourvidz.moderation_events (user_id, id) where user_id is not null;

-- Objects that may not be read where they are. They are moved to the bucket `quarantine`, because a signed URL bypasses every policy.
create table if not exists ourvidz.taken_objects (
  bucket    text not null,
  path      text not null,
  user_id   uuid not null,
  subject   text,                            -- of the takedown that holds it
  down      boolean not null default false,  -- by a takedown
  suspended boolean not null default false,  -- its owner is suspended
  moved     boolean not null default false,  -- it is in `quarantine`
  tries     integer not null default 0,
  next_at   timestamptz not null,
  primary key (bucket, path)
);
create index if not exists taken_objects_due on ourvidz.taken_objects (next_at) where (down or suspended) <> moved;
create index if not exists taken_objects_of_subject on ourvidz.taken_objects (subject) where subject is not null;
create index if not exists taken_objects_of_user on ourvidz.taken_objects (user_id);

create table if not exists ourvidz.suspensions (
  id        uuid primary key default gen_random_uuid(),
  user_id   uuid not null,
  reason    text not null check (reason ~ '^[a-z_]{1,40}$'),
  since     timestamptz not null,
  by        text not null check (length(by) between 1 and 120),
  lifted_at timestamptz,
  lifted_by text check (length(lifted_by) between 1 and 120),
  sweeps    integer not null default 0,
  sweep_at  timestamptz
);
create unique index if not exists suspensions_open on ourvidz.suspensions (user_id) where lifted_at is null;
create index if not exists suspensions_sweep on ourvidz.suspensions (sweep_at) where lifted_at is null and sweep_at is not null;
comment on column ourvidz.suspensions.sweep_at is 'When the user''s folders are listed next, for objects to move away. Again later, for what was under way.';

create table if not exists ourvidz.appeals (
  id         uuid primary key default gen_random_uuid(),
  user_id    uuid not null,
  subject    text references ourvidz.takedowns,
  suspension uuid references ourvidz.suspensions,
  asked_at   timestamptz not null,
  decision   text check (decision in ('granted', 'denied')),
  decided_at timestamptz,
  decided_by text check (length(decided_by) between 1 and 120),
  check (num_nonnulls(subject, suspension) = 1),
  check ((decision is null) = (decided_at is null) and (decision is null) = (decided_by is null))
);
create unique index if not exists appeals_of_subject on ourvidz.appeals (subject) where subject is not null;
create unique index if not exists appeals_of_suspension on ourvidz.appeals (suspension) where suspension is not null;
create index if not exists appeals_of_user on ourvidz.appeals (user_id);

create table if not exists ourvidz.blocked_hashes (
  id         bigint generated always as identity primary key,
  sha256     text check (sha256 ~ '^[0-9a-f]{64}$'),
  pdq        bit(256),
  source     text not null check (source ~ '^[A-Za-z0-9._-]{1,80}$'),
  report_id  uuid,
  subject    text,
  added_at   timestamptz not null,
  check (num_nonnulls(sha256, pdq) = 1)
);
create unique index if not exists blocked_hashes_sha256 on ourvidz.blocked_hashes (sha256) where sha256 is not null;
create unique index if not exists blocked_hashes_pdq on ourvidz.blocked_hashes (pdq) where pdq is not null;
create index if not exists blocked_hashes_of_subject on ourvidz.blocked_hashes (subject) where subject is not null;

-- Only constant defaults and nullable columns: no row is rewritten.
alter table public.artifacts add column if not exists taken_down boolean not null default false;
alter table public.artifacts add column if not exists pdq bit(256)[];
alter table public.images add column if not exists taken_down boolean not null default false;
alter table public.videos add column if not exists taken_down boolean not null default false;
comment on column public.artifacts.pdq is 'Perceptual hashes of the picture, or of a clip''s sampled frames (ourvidz.safety.perceptual).';
comment on column public.images.taken_down is 'Hidden by a takedown (ourvidz.takedowns): its owner does not see it.';

alter table ourvidz.buckets add column if not exists sealed boolean not null default false;
comment on column ourvidz.buckets.sealed is 'Nobody reads or writes it through a policy, admins included: the service key alone.';
