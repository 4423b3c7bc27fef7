-- Buckets, as state/catalog.py has them, and what erasure does with each table that holds what a user wrote.

create table ourvidz.buckets (
  name        text primary key,
  public      boolean not null,
  uploads     boolean not null,  -- users bring references of their own; into the others executors alone write
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

-- Objects that are to be deleted because their owner deleted them from their library. A row goes when its object is gone.
create table ourvidz.removals (
  bucket   text not null,
  path     text not null,
  user_id  uuid not null,
  job_id   uuid,                      -- while it is at work, an object may still come
  asked_at timestamptz not null,
  tries    integer not null default 0,
  next_at  timestamptz not null,      -- also the end of the lease of whoever is at it
  primary key (bucket, path)
);
create index removals_due on ourvidz.removals (next_at);
create index removals_of_user on ourvidz.removals (user_id);

alter table public.artifacts add column gone_at timestamptz;
comment on column public.artifacts.gone_at is 'When the object of a deleted output was gone from its bucket.';
