-- Which schema objects (functions, views, triggers, policies, copies of the Python tables) the database has, with a digest of each and the
-- release that applied it. The row of kind `layer` stands for all of them. See ourvidz/db/layer.py.
create table ourvidz.schema_objects (
  kind       text not null check (kind in ('layer', 'script', 'function', 'view', 'trigger', 'rows', 'policies', 'policy')),
  name       text not null,
  digest     text not null,
  release    integer not null,
  applied_at timestamptz not null default now(),
  primary key (kind, name)
);
drop table if exists ourvidz.laid;
