-- Returns where a user's next p_jobs jobs enter a lane, and the step between them: start-time fair queueing (Goyal, Vin, Cheng 1996). A
-- user with no jobs waiting starts at the lane's virtual time, others behind their own jobs; the plan's weight sets how far each job moves
-- the user on. The upsert's row lock serialises the submits of one user. The profile is locked first: the price will be held on it, and a
-- transaction that has locked it never waits for a share of the same user (docs/decisions/0021).
create or replace function ourvidz.next_rank(p_user uuid, p_lane text, p_jobs bigint, out start float8, out step float8)
language plpgsql
set enable_sort = off  -- use the index that gives the order, even if statistics say that few jobs wait
as $$
declare
  v_virtual float8;
begin
  select 1.0 / coalesce(plan.weight, 1) into step
  from public.profiles as profile left join ourvidz.plan_words as said on said.word = profile.subscription_status
  left join ourvidz.plans as plan on plan.name = said.plan
  where profile.id = p_user for no key update of profile;
  v_virtual := ourvidz.virtual_time(p_lane);
  insert into ourvidz.shares as share (user_id, lane, finish)
  values (p_user, p_lane, v_virtual + p_jobs * step)
  on conflict (user_id, lane) do update set finish = greatest(share.finish, v_virtual) + p_jobs * step
  returning share.finish - p_jobs * step into start;
end
$$;

-- Returns a lane's virtual time. If nobody waits, all have been served: everyone starts level with the user who got furthest.
create or replace function ourvidz.virtual_time(p_lane text) returns float8
language sql stable
as $$
  select coalesce(
    (select rank - ourvidz.priority_offset(priority) from public.jobs where ready and lane = p_lane order by rank, run_at limit 1),
    (select finish from ourvidz.shares where lane = p_lane order by finish desc limit 1),
    0)
$$;

-- Returns where a user's next job would enter, like next_rank, without entering it.
create or replace function ourvidz.entry(p_user uuid, p_lane text) returns float8
language sql stable
as $$
  select greatest(ourvidz.virtual_time(p_lane), (select finish from ourvidz.shares where user_id = p_user and lane = p_lane))
$$;
