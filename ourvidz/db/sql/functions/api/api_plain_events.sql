-- After a plain INSERT: writes the `submitted` events of its rows and wakes waiting executors.
create or replace function ourvidz.api_plain_events(p_jobs jsonb) returns jsonb
language plpgsql
as $$
declare
  v_jobs constant uuid[] := array(select jsonb_array_elements_text(p_jobs)::uuid);
begin
  insert into public.job_events (submitted_on, job_id, version, type, to_status, actor, occurred_at, data, prev_hash, hash)
  select e.submitted_on, e.job_id, e.version, e.type, e.to_status, e.actor, e.occurred_at, e.data, e.prev_hash, e.hash
  from public.jobs as n
  join public.job_payloads as p on p.job_id = any (array[n.id])  -- by its key (docs/decisions/0052, rule 9)
  cross join lateral ourvidz.first_event(
    row(1, n.id, n.user_id, n.job_type, n.lane, null, n.priority, n.run_at, null, null, p.settings, null,
        n.project_id, n.video_id, n.image_id, p.body_digest, null, null, null)::ourvidz.asked_job, n.rank, p.salt, n.created_at, 'person') as e
  where n.id = any (v_jobs);
  perform ourvidz.wake(lane, jobs)
  from (select lane, count(*) as jobs from public.jobs where id = any (v_jobs) group by lane) as lanes;
  return null;
end
$$;
