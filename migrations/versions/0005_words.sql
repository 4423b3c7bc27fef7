-- What kind of value may stand in an event's data and in columns of text: copies of state/kinds.py.
alter table ourvidz.event_types add column if not exists kinds jsonb not null default '{}';
create table if not exists ourvidz.column_kinds (
  name text primary key,  -- schema.table.column
  kind jsonb not null
);

-- What events call an executor: not what a stolen login of one would like to write there (ourvidz.register).
alter table ourvidz.executors add column if not exists called text;
update ourvidz.executors set called = name where called is null;
alter table ourvidz.executors alter column called set not null;
