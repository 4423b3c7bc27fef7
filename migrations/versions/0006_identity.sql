-- Which database this is. The newest row counts; earlier rows are its history. A dump, a copy or a subscription carries the rows, but not
-- the server: if the newest row names another server, the database is a copy, and `ourvidz restored` decides how it goes on.
create table if not exists ourvidz.identities (
  n                 integer primary key check (n > 0),
  id                uuid not null,
  how               text not null check (how in ('made', 'restored', 'copied')),
  since             timestamptz not null,
  xid_offset        bigint not null default 0 check (xid_offset >= 0),
  system_identifier bigint,
  database_oid      oid
);
comment on column ourvidz.identities.id is 'Heads that are kept outside belong to it. A copy that goes on beside its original gets another.';
comment on column ourvidz.identities.xid_offset is
  'Added to transaction ids where events are ordered by them, so that a younger server goes on above the older one (ourvidz.event_xid).';
comment on column ourvidz.identities.system_identifier is 'The server''s. Null: any, of a database that is a template for others.';

-- The catalogs' state of each schema object and table when `migrate` had finished: owner, grants, definition. By it `migrate` finds what a
-- restore without owners or grants, or a person, has changed since.
create table if not exists ourvidz.catalog_states (
  kind  text not null,
  name  text not null,
  state jsonb not null,
  primary key (kind, name)
);
