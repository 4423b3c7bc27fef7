-- Returns a job's place in its lane (1: next; null: it does not wait for an executor), and the seconds until it should be done (null: no
-- live executor serves the lane).
create or replace function ourvidz.queue_position(j public.jobs, out n bigint, out eta float8)
language plpgsql stable
as $$
begin
  if j.ready then
    select p.n, p.eta into n, eta from ourvidz.place_of(j.lane, j.job_type, j.rank, j.run_at) as p;
  elsif j.claimed_at is not null and j.completed_at is null and ourvidz.lane_served(j.lane, ourvidz.now()) then
    select greatest(t.seconds - extract(epoch from ourvidz.now() - j.claimed_at), 1) into eta
    from ourvidz.typical_seconds() as t where t.job_type = j.job_type;
  end if;
end
$$;

-- Returns where a job of this type and rank stands or would stand. The seconds are those of the jobs before it, by their types, divided
-- among the lane's live executors, plus its own. Counts at most 10,000: further back a number says nothing.
create or replace function ourvidz.place_of(p_lane text, p_type text, p_rank float8, p_run_at timestamptz, out n bigint, out eta float8)
language sql stable
as $$
  with hands as (
    select count(*) as live from ourvidz.executors where state = 'active' and p_lane = any (lanes) and lease_until > ourvidz.now()
  ), typical as materialized (
    select * from ourvidz.typical_seconds()
  ), before as (
    select o.job_type, count(*) as jobs
    from (select job_type from public.jobs where ready and lane = p_lane and (rank, run_at) < (p_rank, p_run_at) limit 10000) as o
    group by o.job_type
  ), sums as (
    select coalesce(sum(b.jobs), 0)::bigint as jobs, coalesce(sum(b.jobs * t.seconds), 0) as seconds
    from before as b left join typical as t on t.job_type = b.job_type
  )
  select sums.jobs + 1, case when hands.live > 0 then sums.seconds / hands.live + (select seconds from typical where job_type = p_type) end
  from sums, hands
$$;

-- Returns the seconds from claim to end by job type: the median of recently completed jobs, else the catalog's value. Reads only the newest
-- events, so the cost does not grow with the history.
create or replace function ourvidz.typical_seconds() returns table (job_type text, seconds float8)
language sql stable
as $$
  select kind.name, coalesce(lately.seconds, kind.expected_seconds)
  from ourvidz.job_types as kind
  left join (
    select ended.job_type, percentile_cont(0.5) within group (order by extract(epoch from done.occurred_at - claimed.occurred_at)::float8) as seconds
    from (select * from public.job_events order by xid desc, seq desc limit 2000) as done
    join public.jobs as ended on ended.id = done.job_id
    join public.job_events as claimed on claimed.job_id = done.job_id and claimed.type = 'claimed' and claimed.claim_no = done.claim_no
    where done.type = 'completed' group by ended.job_type
  ) as lately on lately.job_type = kind.name
$$;
