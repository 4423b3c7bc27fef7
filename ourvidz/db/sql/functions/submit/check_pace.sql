-- Refuses what exceeds a user's plan: unfinished jobs at a time (OV015) and submits within a minute (OV016), by the database's clock.
-- Operators' connections do not come this way; the intake calls only check_unfinished.
create or replace function ourvidz.check_pace(p_user uuid) returns void
language plpgsql
as $$
declare
  v_plan ourvidz.plans;
  v_since timestamptz;
begin
  perform ourvidz.lock_user_submissions(p_user);
  perform ourvidz.check_unfinished(p_user, 1);
  v_plan := ourvidz.plan_of(p_user);
  -- The N-th newest job, where the plan allows N submits a minute: while it is younger than a minute, the limit is reached.
  select created_at into v_since from public.jobs
  where user_id = p_user order by created_at desc offset v_plan.submits_per_minute - 1 limit 1;
  perform ourvidz.refuse_pace(v_plan, v_since);
end
$$;

-- Limits retries together with submits, by the token holds that both write: retried and cancelled in turns, one job would fill the log and
-- keep a device busy for nothing.
create or replace function ourvidz.check_retries(p_user uuid) returns void
language plpgsql
as $$
declare
  v_plan constant ourvidz.plans := ourvidz.plan_of(p_user);
  v_since timestamptz;
begin
  select at into v_since from ourvidz.token_entries
  where user_id = p_user and account = 'held' and kind = 'hold' order by seq desc offset v_plan.submits_per_minute - 1 limit 1;
  perform ourvidz.refuse_pace(v_plan, v_since);
end
$$;

create or replace function ourvidz.refuse_pace(p_plan ourvidz.plans, p_since timestamptz) returns void
language plpgsql
as $$
declare
  v_wait constant integer := ceil(extract(epoch from p_since + interval '1 minute' - ourvidz.now()));
begin
  if v_wait > 0 then
    raise exception 'More than % jobs within a minute: try again in % s.', p_plan.submits_per_minute, v_wait
      using errcode = 'OV016', detail = format('Retry after %s s.', v_wait);
  end if;
end
$$;

-- Serialises a user's requests, so that concurrent ones cannot exceed the limits that are counted here.
create or replace function ourvidz.lock_user_submissions(p_user uuid) returns void
language sql
as $$ select ourvidz.lock_names('pace', array[p_user::text]) $$;

-- p_more: how many jobs are about to be added.
create or replace function ourvidz.check_unfinished(p_user uuid, p_more integer) returns void
language plpgsql
as $$
declare
  v_plan constant ourvidz.plans := ourvidz.plan_of(p_user);
begin
  if (select count(*) + p_more > v_plan.unfinished
      from (select from public.jobs where user_id = p_user and completed_at is null limit v_plan.unfinished) as unfinished) then
    raise exception 'The plan % allows % unfinished jobs: wait for one to end, or cancel one.', v_plan.name, v_plan.unfinished
      using errcode = 'OV015';
  end if;
end
$$;

-- Returns a user's plan: the one that their subscription_status stands for, else `free`.
create or replace function ourvidz.plan_of(p_user uuid) returns ourvidz.plans
language sql stable
as $$
  select plan from ourvidz.plans as plan
  where plan.name = coalesce((select w.plan from public.profiles as p join ourvidz.plan_words as w on w.word = p.subscription_status
                              where p.id = p_user), 'free')
$$;
