-- Locks on names are rows that only our functions may lock: any login could take and keep an advisory lock (ourvidz.lock_names). `ourvidz
-- migrate` creates the table before this runs, because it takes its own lock there (sql/migrate_lock.sql).
insert into ourvidz.locks (kind, slot)
select kind, slot from unnest('{pace,submit,scene,videos,refusals,executor}'::text[]) as kind, generate_series(0, 1023) as slot
union all select 'reap', 0
on conflict do nothing;

-- The login that registered an executor: only it may claim as that executor, and declare it gone. Null: registered by an earlier release.
alter table ourvidz.executors add column if not exists login name;

-- Limits of an executor login: a stolen one reads no more than this. No row: policy's limits, all lanes.
create table if not exists ourvidz.logins (
  name         name primary key,
  lanes        text[],  -- null: all
  minute       timestamptz not null default '-infinity',  -- start of the minute in which `claims` are counted
  claims       integer not null default 0
) with (fillfactor = 50);
comment on table ourvidz.logins is 'Logins of executors: the lanes they may serve, and what they claimed in the last minute.';

alter table ourvidz.policy add column if not exists claims_per_minute integer not null default 600;
alter table ourvidz.policy add column if not exists executors_per_login integer not null default 64;
alter table ourvidz.policy add column if not exists registrations_per_hour integer not null default 500;

-- Session limits of our roles (a copy of state/policy.py). Times in seconds; null: not limited here.
create table if not exists ourvidz.role_limits (
  name               name primary key,
  statement_s        integer not null,
  lock_s             integer not null,
  idle_s             integer not null,
  transaction_s      integer not null,
  work_mem_mb        integer not null,
  connections        integer
);
