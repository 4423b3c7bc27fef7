-- Security, bounds: copies of state/bounds.py, and row counts per owner.

create table ourvidz.limits (
  only_row       boolean primary key default true check (only_row),
  request_bytes  bigint not null,
  text_bytes     integer not null,
  json_bytes     integer not null,
  settings_bytes integer not null,
  row_bytes      integer not null,
  write_bytes    bigint not null,
  upload_objects integer not null
);
create table ourvidz.row_bounds (
  name  text primary key,
  owner text not null,  -- the column with the row's owner
  rows  bigint,
  bytes bigint,         -- of all the owner's rows together
  over  text not null check (over in ('refuse', 'oldest')),
  other text,           -- what bounds the table instead
  check ((rows is null) = (other is not null))
);
-- Initialised from the existing rows at an owner's first write, and then kept by ourvidz.count_rows.
create table ourvidz.row_counts (
  name  text not null,
  owner uuid not null,
  rows  bigint not null check (rows >= 0),
  bytes bigint not null check (bytes >= 0),
  primary key (name, owner)
) with (fillfactor = 70);

-- For lists under a user's JWT, which read only the user's own rows, newest first.
create index if not exists artifacts_of_user on public.artifacts (split_part(path, '/', 1), created_at desc) where deleted_at is null;
create index if not exists job_payloads_of_user on public.job_payloads (user_id);
create index if not exists consents_of_user_recent on public.consents (user_id, attested_at desc);
create index if not exists videos_of_user_recent on public.videos (user_id, created_at desc);
create index if not exists projects_of_user_recent on public.projects (user_id, created_at desc);
create index if not exists characters_of_user_recent on public.characters (user_id, created_at desc);
-- Of the rows that clients write, the oldest are deleted first (ourvidz.row_bounds).
create index if not exists usage_logs_of_clients on public.usage_logs (user_id, created_at) where job_id is null;
