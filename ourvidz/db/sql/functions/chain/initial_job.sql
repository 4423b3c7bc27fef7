-- Returns the job that a first event creates; no row if no job may begin with that event. Columns that no event carries come from the job's
-- payload, which was written before. Kept inlinable, as evolve is.
create or replace function ourvidz.initial_job(e public.job_events, p_now timestamptz) returns setof public.jobs
language sql stable parallel safe
as $$
  select b.*
  from ourvidz.transitions as t
  left join ourvidz.job_types as kind on kind.name = e.data->>'job_type'
  left join public.job_payloads as words on words.job_id = e.job_id
  cross join lateral (select jsonb_populate_record(null::public.jobs, ourvidz.legacy_columns(kind, words)) as j offset 0) as beside
  cross join lateral ourvidz.evolve(beside.j, e) as b
  where t.event = e.type and t.source is null and t.target = e.to_status
    and e.version = 1 and e.claim_no is null and e.prev_hash = decode(repeat('00', 32), 'hex')
    and e.occurred_at <= p_now and e.submitted_on = (e.occurred_at at time zone 'UTC')::date
    and e.data - t.keys = '{}'
    and e.hash = ourvidz.event_hash(e.prev_hash, e.job_id, e.version, e.type, e.from_status, e.to_status,
                                    e.claim_no, e.actor, e.occurred_at, e.data)
$$;
