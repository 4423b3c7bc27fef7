-- Security, age: when a verification expires, and users whose jobs are being stopped.
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

alter table ourvidz.age_reviews
  add column if not exists began_at timestamptz,
  add column if not exists began_by text check (length(began_by) between 1 and 200),
  add column if not exists verified_until timestamptz,
  drop constraint if exists age_reviews_decision_check,
  drop constraint if exists age_reviews_decision,
  add constraint age_reviews_decision check (decision in ('verified', 'refused', 'withdrawn', 'expired'));
comment on column ourvidz.age_reviews.began_at is 'Somebody looks at it since then; null while it waits.';

create table if not exists ourvidz.age_ends (
  user_id uuid primary key,
  until   timestamptz not null
);
create index if not exists age_ends_until on ourvidz.age_ends (until);
comment on table ourvidz.age_ends is 'Whose verification runs out when, for the reaper: a copy of profiles.age_verified_until, kept by a trigger.';

create table if not exists ourvidz.age_messages (
  provider    text not null check (provider ~ '^[a-z0-9_-]{1,40}$'),
  message_id  text not null check (length(message_id) between 1 and 200),
  user_id     uuid not null,
  said_at     timestamptz,
  received_at timestamptz not null,
  primary key (provider, message_id)
);
create index if not exists age_messages_of_user on ourvidz.age_messages (user_id);
create index if not exists age_messages_received on ourvidz.age_messages (received_at);
comment on table ourvidz.age_messages is 'Messages of providers of age verification that were taken in, so that none is taken in twice. Kept for 90 days.';

-- Adds decisions for users who were verified before decisions were recorded: by the import of a legacy system, or by a plain UPDATE.
insert into ourvidz.age_reviews (user_id, asked_at, decision, decided_at, decided_by, how)
select p.id, now(), 'verified', coalesce(said.at, now()), coalesce(said.decided_by, 'migration'),
       case when said.at is null then 'verified before decisions were kept' else 'the older system said so, and the operator believed it' end
from public.profiles as p
left join ourvidz.import_decisions as said on said.user_id = p.id and said.what = 'age' and said.believed
where p.age_verified and not exists (select from ourvidz.age_reviews as r where r.user_id = p.id and r.decision is not null);

-- The legacy system gave the second user of a taken username no profile and ignored the error: they could neither use it nor be verified.
do $$
begin
  with made as (
    insert into public.profiles (id, email, username)
    select u.id, u.email, left(coalesce(nullif(trim(u.raw_user_meta_data->>'username'), ''), nullif(split_part(u.email, '@', 1), '')), 80)
                          || '_' || left(u.id::text, 8)
    from auth.users as u where not exists (select from public.profiles as p where p.id = u.id)
    on conflict do nothing returning id
  )
  insert into public.user_roles (user_id, role) select id, 'basic_user' from made on conflict do nothing;
exception when insufficient_privilege or undefined_table or undefined_column or invalid_schema_name then
  raise notice 'users without a profile were not looked for: %', sqlerrm;
end
$$;
