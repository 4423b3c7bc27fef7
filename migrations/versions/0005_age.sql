-- Security, age: until when a verification holds, and users whose jobs are being stopped.
alter table public.profiles add column if not exists age_verified_until timestamptz;
comment on column public.profiles.age_verified_until is 'A verification of the age holds until then; null: until it is withdrawn.';

create table if not exists ourvidz.stops (
  user_id  uuid primary key,
  reason   text not null check (reason ~ '^[a-z0-9_]{1,40}$'),
  actor    text not null check (actor ~ '^[a-z]+(:[A-Za-z0-9._-]{1,80})?$'),
  asked_at timestamptz not null
);
comment on table ourvidz.stops is
  'Users whose unfinished jobs are to be stopped (ourvidz.stop_jobs); the reaper removes a row once none is left that could go on.';
