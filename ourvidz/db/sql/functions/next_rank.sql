-- Where a user's next p_jobs jobs enter a lane: start-time fair queueing (Goyal, Vin, Cheng 1996). A user who was away starts at the
-- lane's virtual time; one with jobs waiting starts behind them; a plan's weight sets how far each job moves the user on. The upsert's
-- row lock makes two submits of one user follow each other. Returns the start and the step between the jobs. The profile is locked first:
-- the price will be held on it, and whoever has locked it waits for no share of its user's (docs/decisions/0021).
create or replace function ourvidz.next_rank(p_user uuid, p_lane text, p_jobs bigint, out start float8, out step float8)
language plpgsql
set enable_sort = off  -- the index that gives the order, however few jobs statistics say that wait
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

-- With nobody waiting all have been served: everyone starts level with whoever got furthest.
create or replace function ourvidz.virtual_time(p_lane text) returns float8
language sql stable
as $$
  select coalesce(
    (select rank - ourvidz.head_start(priority) from public.jobs where ready and lane = p_lane order by rank, run_at limit 1),
    (select finish from ourvidz.shares where lane = p_lane order by finish desc limit 1),
    0)
$$;

-- Where a user's next job would enter, as next_rank says it, without entering.
create or replace function ourvidz.entry(p_user uuid, p_lane text) returns float8
language sql stable
as $$
  select greatest(ourvidz.virtual_time(p_lane), (select finish from ourvidz.shares where user_id = p_user and lane = p_lane))
$$;
