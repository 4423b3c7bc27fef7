-- Creates what our policies, storage rows and clients need of a Supabase project and a plain Postgres lacks. Only if it is missing:
-- existing objects are Supabase's and are left as they are. (ourvidz/db/sql/roles.sql creates the roles.)

create schema if not exists auth;
create schema if not exists storage;
create schema if not exists extensions;

do $$
begin
  if to_regclass('auth.users') is null then
    create table auth.users (
      id                 uuid primary key default gen_random_uuid(),
      email              text,
      raw_app_meta_data  jsonb not null default '{}',
      raw_user_meta_data jsonb not null default '{}',
      created_at         timestamptz not null default now(),
      last_sign_in_at    timestamptz
    );
  end if;
  -- The claims that PostgREST sets for each transaction. Both forms: older versions of it use one setting per claim.
  if to_regprocedure('auth.jwt()') is null then
    create function auth.jwt() returns jsonb language sql stable
    as $f$ select coalesce(nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), ''))::jsonb $f$;
  end if;
  if to_regprocedure('auth.uid()') is null then
    create function auth.uid() returns uuid language sql stable
    as $f$ select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                           nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $f$;
  end if;
  if to_regprocedure('auth.role()') is null then
    create function auth.role() returns text language sql stable
    as $f$ select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
                           nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role') $f$;
  end if;

  if to_regclass('storage.buckets') is null then
    create table storage.buckets (
      id                 text primary key,
      name               text not null unique,
      owner              uuid,
      public             boolean default false,
      file_size_limit    bigint,
      allowed_mime_types text[],
      created_at         timestamptz default now(),
      updated_at         timestamptz default now()
    );
    alter table storage.buckets enable row level security;
  end if;
  if to_regclass('storage.objects') is null then
    create table storage.objects (
      id               uuid primary key default gen_random_uuid(),
      bucket_id        text references storage.buckets,
      name             text,
      owner            uuid,
      metadata         jsonb,
      created_at       timestamptz default now(),
      updated_at       timestamptz default now(),
      last_accessed_at timestamptz default now(),
      unique (bucket_id, name)
    );
    alter table storage.objects enable row level security;
  end if;
  if to_regprocedure('storage.foldername(text)') is null then
    create function storage.foldername(name text) returns text[] language sql immutable
    as $f$ select (string_to_array(name, '/'))[1:array_length(string_to_array(name, '/'), 1) - 1] $f$;
  end if;

  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
end
$$;

-- A copy of state/errors.py: the name of each of our SQLSTATEs, and its HTTP status.
create table ourvidz.refusals (
  name text primary key,
  code text not null,
  http integer not null
);

-- A plain INSERT of a job stores its payload (in a BEFORE trigger) just before the job's row exists.
alter table public.job_payloads alter constraint job_payloads_job_id_fkey deferrable initially deferred;
