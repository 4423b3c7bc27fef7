-- What ourvidz.submit records about a request in addition to the job.
alter table public.job_payloads
  add column if not exists set_aside jsonb,  -- [{"field", "reason"}], null for nothing
  add column if not exists source    text;
comment on column public.job_payloads.set_aside is 'Fields of the request that were not used, each with a word from ourvidz.set_aside_rules or ourvidz.read_settings.';
comment on column public.job_payloads.source is 'The way the request came: rpc, row, redis, cli, import; null before release 0004.';

-- A request with the names that all sources share. `chosen` of asked_job: the settings that the request gave itself.
create type ourvidz.request as (
  ord bigint, id uuid, user_id uuid, job_type text, prompt text, negative_prompt text, config jsonb, metadata jsonb, settings jsonb,
  format text, quality text, model_type text, idempotency_key text, run_at timestamptz, project_id uuid, video_id uuid, image_id uuid,
  character_id text, asked_type text, body_digest bytea
);
alter type ourvidz.asked_job add attribute set_aside jsonb, add attribute source text, add attribute chosen jsonb;

-- Copies of state/client_names.py.
create table if not exists ourvidz.set_aside_rules (
  name     text primary key,
  job_type text not null,
  setting  text not null,
  names    text[] not null,
  only_values jsonb,  -- null: any value
  beside   text[] not null,
  without  text[] not null,
  reason   text not null,
  unique (job_type, setting)
);
create table if not exists ourvidz.older_types (
  name     text primary key,
  asked    text not null,
  format   text not null,
  quality  text not null,
  job_type text not null,
  unique (asked, format, quality)
);

-- Properties of a job type that clients see (public.job_types).
alter table ourvidz.job_types
  add column if not exists label            text not null default '',
  add column if not exists extension        text not null default 'png',
  add column if not exists media_type       text not null default 'image/png',
  add column if not exists model_variant    text not null default '',
  add column if not exists bucket_bytes     bigint not null default 0,
  add column if not exists expected_seconds double precision not null default 60;
