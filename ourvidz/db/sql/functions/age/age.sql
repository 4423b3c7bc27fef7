-- Age verification: the user asks for it, an operator, an admin or a provider's webhook decides. Every decision is kept in
-- ourvidz.age_reviews, each change of profiles.age_verified has one, and ourvidz.why_not_run compares the profile with the clock.
create or replace function public.age_status() returns jsonb
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.rpc('age_status', '{}') $$;

create or replace function public.request_age_review() returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.rpc('request_age_review', '{}') $$;

create or replace function ourvidz.api_age_status(p jsonb) returns jsonb
language sql stable
as $$ select ourvidz.age_of(ourvidz.signed_in()) $$;

-- Returns {status, asked_at, decided_at, until, may_ask_at, next}. status: verified | unverified (nobody has asked) | waiting | in_review |
-- refused | withdrawn | expired. next: what happens next, as a sentence for the user.
create or replace function ourvidz.age_of(p_user uuid) returns jsonb
language sql stable
as $$
  select jsonb_build_object(
    'status', found.status, 'asked_at', open.asked_at, 'decided_at', last.decided_at,
    'until', case when found.status in ('verified', 'expired') then coalesce(profile.age_verified_until, last.verified_until) end,
    'may_ask_at', case when found.status in ('refused', 'withdrawn') then last.decided_at + ourvidz.age_pause() end,
    'next', (select next from ourvidz.age_states() as s where s.status = found.status))
  from (select p_user as id) as me
  left join public.profiles as profile on profile.id = me.id
  left join lateral (select * from ourvidz.age_reviews where user_id = me.id and decision is null limit 1) as open on true
  left join lateral (
    select * from ourvidz.age_reviews where user_id = me.id and decision is not null order by id + 0 desc limit 1) as last on true
  cross join lateral (select case when profile.age_verified and coalesce(profile.age_verified_until > ourvidz.now(), true) then 'verified'
                                  when open.began_at is not null then 'in_review' when open.id is not null then 'waiting'
                                  when profile.age_verified then 'expired' when last.decision <> 'verified' then last.decision
                                  else 'unverified' end as status) as found
$$;

-- Returns the sentence that `next` shows for each state. Defined once: the page, job_status and the command line repeat it.
create or replace function ourvidz.age_states() returns table (status text, next text)
language sql immutable parallel safe
as $$
  values ('verified', 'Your age is verified. Nothing else is needed.'),
         ('unverified', 'Ask for your age to be verified. Until it is, no job is made for you.'),
         ('waiting', 'Your request was recorded and waits for somebody to look at it. You will be told by email what is needed.'),
         ('in_review', 'Your request is being looked at. You will be told by email what was decided, or what else is needed.'),
         ('refused', 'The last request was refused. A day after the decision you can ask again.'),
         ('withdrawn', 'Your verification was taken back, and your unfinished jobs were stopped. A day after that you can ask again.'),
         ('expired', 'Your verification has run out, and your unfinished jobs were stopped. Ask for your age to be verified again.')
$$;

-- Returns how long a user must wait after a refusal or withdrawal before asking again.
create or replace function ourvidz.age_pause() returns interval language sql immutable parallel safe as $$ select interval '1 day' $$;
