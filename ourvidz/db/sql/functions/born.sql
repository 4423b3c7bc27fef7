-- The job that a first event begins; no row when the event is not one that a job may begin with. Kept inlinable, as evolve is.
create or replace function ourvidz.born(e public.job_events, p_now timestamptz) returns setof public.jobs
language sql stable parallel safe
as $$
  select b.*
  from ourvidz.transitions as t
  cross join lateral ourvidz.evolve(null::public.jobs, e) as b
  where t.event = e.type and t.source is null and t.target = e.to_status
    and e.version = 1 and e.claim_no is null and e.prev_hash = decode(repeat('00', 32), 'hex')
    and e.occurred_at <= p_now and e.submitted_on = (e.occurred_at at time zone 'UTC')::date
    and e.data - t.keys = '{}'
    and e.hash = ourvidz.event_hash(e.prev_hash, e.job_id, e.version, e.type, e.from_status, e.to_status,
                                    e.claim_no, e.actor, e.occurred_at, e.data)
$$;
