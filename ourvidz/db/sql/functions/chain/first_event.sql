-- Builds the first event of a requested job. Kept inlinable, as evolve is. Used before the row exists (insert_submitted), and again for a row
-- that a plain INSERT brought (jobs_asked): both results must be identical to the bit.
create or replace function ourvidz.first_event(a ourvidz.asked_job, p_rank float8, p_salt bytea, p_at timestamptz, p_actor text)
returns setof public.job_events
language sql stable parallel safe
as $$
  select null::bigint, null::xid8, (p_at at time zone 'UTC')::date, a.id, 1, 'submitted', null::text, 'queued', null::bigint, p_actor, p_at,
         it.data, it.zero,
         ourvidz.event_hash(it.zero, a.id, 1, 'submitted', null, 'queued', null, p_actor, p_at, it.data)
  from (
    select decode(repeat('00', 32), 'hex') as zero, jsonb_strip_nulls(jsonb_build_object(
             'user_id', a.user_id, 'job_type', a.job_type, 'lane', a.lane, 'priority', a.priority, 'rank', ourvidz.json_number(p_rank),
             'run_at', ourvidz.utc_text(greatest(a.run_at, p_at)), 'project_id', a.project_id, 'video_id', a.video_id, 'image_id', a.image_id,
             'digest', encode(sha256(p_salt || a.body_digest), 'hex'), 'price', ourvidz.price_of(a.job_type, a.settings))) as data
    offset 0  -- computed once
  ) as it
$$;
