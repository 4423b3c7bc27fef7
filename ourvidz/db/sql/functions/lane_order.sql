-- The lanes an executor should look in, best first: one that has waited too long because of affinity, then those whose model is in
-- memory, then whichever waits longest. Affinity may hold a lane back until p_patience, counted from p_since, when the executor settled
-- in its own lane, so that two busy lanes alternate by the minute and not by the job.
create or replace function ourvidz.lane_order(p_lanes text[], p_resident text[], p_since timestamptz, p_patience timestamptz)
returns text[]
language plpgsql stable
set enable_sort = off  -- the index that gives the order, however few jobs statistics say that wait
as $$
begin
  return (select array_agg(l.lane order by
    (not l.lane = any (p_resident) and oldest.run_at < p_patience and coalesce(p_since < p_patience, true)) desc,
    l.lane = any (p_resident) desc,
    oldest.run_at)
  from unnest(p_lanes) as l (lane)
  cross join lateral (select run_at from public.jobs where ready and lane = l.lane order by run_at limit 1) as oldest);
end
$$;
