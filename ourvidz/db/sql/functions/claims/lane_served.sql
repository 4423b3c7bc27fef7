-- Checks whether an executor with a live lease serves this lane.
create or replace function ourvidz.lane_served(p_lane text, p_now timestamptz) returns boolean
language sql stable
as $$
  select exists (select from ourvidz.executors where state = 'active' and p_lane = any (lanes) and lease_until > p_now)
$$;
