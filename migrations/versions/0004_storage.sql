-- Buckets, as state/catalog.py has them, and what erasure does with each table that holds what a user wrote.

create table ourvidz.buckets (
  name        text primary key,
  public      boolean not null,
  uploads     boolean not null,  -- users bring references of their own; into the others executors alone write
  max_bytes   bigint not null,
  media_types text[] not null
);
