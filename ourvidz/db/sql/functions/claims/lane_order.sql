-- Orders an executor's lanes, best first: a lane that affinity has kept waiting too long, then lanes whose model is in memory, then the
-- longest waiting. Too long: its oldest job was due before p_patience, and the executor settled in its own lane (p_since) before that too,
-- so that two busy lanes alternate by the minute and not by the job.
create or replace function ourvidz.lane_order(p_lanes text[], p_resident text[], p_since timestamptz, p_patience timestamptz)
returns text[]
language plpgsql stable
set enable_sort = off  -- use the index that gives the order, even if statistics say that few jobs wait
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
