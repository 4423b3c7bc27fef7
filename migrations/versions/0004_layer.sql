-- The schema objects (functions, views, triggers, policies, copies of the Python tables) that the database has, each with a digest and the
-- release that applied it. The row of kind `layer` represents all of them. See ourvidz/db/schema_objects.py.
create table ourvidz.schema_objects (
  kind       text not null check (kind in ('layer', 'script', 'function', 'view', 'trigger', 'rows', 'policies', 'policy')),
  name       text not null,
  digest     text not null,
  release    integer not null,
  applied_at timestamptz not null default now(),
  primary key (kind, name)
);
drop table if exists ourvidz.laid;
