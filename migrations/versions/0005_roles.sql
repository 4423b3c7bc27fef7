-- Locks of names are rows that only our functions may lock: any login can take an advisory lock, and keep it (ourvidz.lock_names).
-- `ourvidz migrate` makes the table before this runs, for it takes turns by it (sql/migrate_lock.sql).
insert into ourvidz.locks (kind, slot)
select kind, slot from unnest('{pace,submit,scene,videos,refusals,executor}'::text[]) as kind, generate_series(0, 1023) as slot
union all select 'reap', 0
on conflict do nothing;

-- Whose executor it is: the login that registered it alone may claim with it, and declare it gone. Null: of an older release.
alter table ourvidz.executors add column if not exists login name;

-- What one login of executors may do: one that is stolen reads no more than this. No row: as policy says, in every lane.
create table if not exists ourvidz.logins (
  name         name primary key,
  lanes        text[],  -- null: all
  minute       timestamptz not null default '-infinity',  -- when the minute began in which `claims` are counted
  claims       integer not null default 0
) with (fillfactor = 50);
comment on table ourvidz.logins is 'Logins of executors: the lanes they may serve, and what they claimed in the last minute.';

alter table ourvidz.policy add column if not exists claims_per_minute integer not null default 600;
alter table ourvidz.policy add column if not exists executors_per_login integer not null default 64;
alter table ourvidz.policy add column if not exists registrations_per_hour integer not null default 500;

-- What sessions of our roles may take (a copy of state/policy.py). Times in seconds; null: not bounded here.
create table if not exists ourvidz.role_limits (
  name               name primary key,
  statement_s        integer not null,
  lock_s             integer not null,
  idle_s             integer not null,
  transaction_s      integer not null,
  work_mem_mb        integer not null,
  connections        integer
);
