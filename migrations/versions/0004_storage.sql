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
