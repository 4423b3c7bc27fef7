-- Consent, the screens' decisions, legal holds, erasures.

-- Who attested when that they may use the likeness in a picture, identified by the SHA-256 of its bytes. Never overwritten: a new
-- attestation after a withdrawal is another row.
create table public.consents (
  id                uuid primary key default gen_random_uuid(),
  user_id           uuid not null references public.profiles,
  sha256            text not null constraint consents_sha256 check (sha256 ~ '^[0-9a-f]{64}$'),
  statement_version text not null constraint consents_version check (statement_version ~ '^[A-Za-z0-9._-]{1,40}$'),
  attested_at       timestamptz not null,
  withdrawn_at      timestamptz
);
create index consents_of_user on public.consents (user_id);
create unique index consents_in_force on public.consents (user_id, sha256) where withdrawn_at is null;
comment on column public.consents.statement_version is 'The words that the person agreed to (ourvidz/safety/consent.py).';
alter table public.consents enable row level security;

-- Finds our own pictures by their bytes: they need no attestation.
create index artifacts_sha256 on public.artifacts using hash (sha256);

-- Refusals by the screens: listed words and salted digests, never a text. The salt of a refused job's digest is in job_payloads; that of a
-- refusal before there is a job (stage `door`) is here.
create table ourvidz.screenings (
  id             bigint generated always as identity primary key,
  at             timestamptz not null,
  user_id        uuid,
  job_id         uuid,
  stage          text not null check (stage in ('door', 'prompt', 'enhanced', 'reference', 'output')),
  allowed        boolean not null,
  policy_version text not null constraint screenings_policy check (policy_version ~ '^[A-Za-z0-9_.:+/-]{1,80}$'),
  category       text constraint screenings_category check (category ~ '^[A-Za-z0-9_.:+/-]{1,80}$'),
  rule_id        text constraint screenings_rule check (rule_id ~ '^[A-Za-z0-9_.:+/-]{1,80}$'),
  digest         text constraint screenings_digest check (digest ~ '^[0-9a-f]{64}$'),
  salt           bytea,
  check (allowed or category is not null)
);
create index screenings_recent on ourvidz.screenings (at desc);
create index screenings_of_user on ourvidz.screenings (user_id, at desc);

create table ourvidz.legal_holds (
  id        bigint generated always as identity primary key,
  user_id   uuid not null,
  reason    text not null check (length(trim(reason)) between 1 and 500),
  set_by    text not null,
  since     timestamptz not null,
  lifted_at timestamptz,
  lifted_by text,
  check ((lifted_at is null) = (lifted_by is null))
);
create unique index legal_holds_standing on ourvidz.legal_holds (user_id) where lifted_at is null;

-- Records that a user was erased, with counts of what; none of the erased data.
create table ourvidz.erasures (
  id          bigint generated always as identity primary key,
  user_id     uuid not null,
  reason      text check (length(reason) <= 500),
  asked_by    text not null,
  started_at  timestamptz not null,
  finished_at timestamptz,
  counts      jsonb not null default '{}'
);
create unique index erasures_open on ourvidz.erasures (user_id) where finished_at is null;

alter table public.profiles
  add column if not exists erased_at timestamptz,
  -- Nothing can be queued for an erased user, in whatever way.
  add constraint profiles_erased check (erased_at is null or not age_verified);
alter table public.job_payloads
  add column erased_at timestamptz,
  drop constraint job_payloads_prompt_check,
  add constraint job_payloads_prompt check (length(prompt) between 1 and 4000 or erased_at is not null and prompt = '');
