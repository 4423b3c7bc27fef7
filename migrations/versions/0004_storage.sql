-- Buckets, copied from state/catalog.py, and the erasure rule of each table that holds a user's texts.

create table ourvidz.buckets (
  name        text primary key,
  public      boolean not null,
  uploads     boolean not null,  -- users upload references; only executors write to the others
  max_bytes   bigint not null,
  media_types text[] not null
);

-- A copy of ourvidz/db/erasure_rules.py.
create table ourvidz.erasure_rules (
  n        integer primary key,
  kind     text not null,
  relation text not null,
  whose    text not null,  -- a condition; $1 is the user
  blank    jsonb,          -- column: expression; null: the rows are deleted
  unless   text not null   -- a condition: the row is blank already
);

-- Objects to delete because their owner deleted them from their library. A row is deleted once its object is gone.
create table ourvidz.removals (
  bucket   text not null,
  path     text not null,
  user_id  uuid not null,
  job_id   uuid,                      -- while it runs, an object may still be uploaded
  asked_at timestamptz not null,
  tries    integer not null default 0,
  next_at  timestamptz not null,      -- also the end of the deleter's lease
  primary key (bucket, path)
);
create index removals_due on ourvidz.removals (next_at);
create index removals_of_user on ourvidz.removals (user_id);

alter table public.artifacts add column gone_at timestamptz;
comment on column public.artifacts.gone_at is 'When the object of a deleted output was gone from its bucket.';
