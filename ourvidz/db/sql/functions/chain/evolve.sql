-- Folds one event into a job: the database's only fold. events_apply updates rows with it, ourvidz.fold replays with it.
-- Kept inlinable (one SELECT, no SET, not SECURITY DEFINER), so that applying a batch stays one set-based statement.
create or replace function ourvidz.evolve(j public.jobs, e public.job_events) returns setof public.jobs
language sql stable parallel safe
as $$
  select
    e.job_id,
    e.to_status,
    e.version,
    e.hash,
    e.submitted_on,
    case when it.begins then (e.data->>'user_id')::uuid else j.user_id end,
    case when it.begins or it.reroutes then e.data->>'job_type' else j.job_type end,
    case when it.begins or it.reroutes then e.data->>'lane' else j.lane end,
    case when it.begins then (e.data->>'project_id')::uuid else j.project_id end,
    case when it.begins then (e.data->>'video_id')::uuid
         when it.links then coalesce((e.data->>'video_id')::uuid, j.video_id)
         when it.removes then nullif(j.video_id, (e.data->>'video_id')::uuid) else j.video_id end,
    case when it.begins then (e.data->>'image_id')::uuid
         when it.links then coalesce((e.data->>'image_id')::uuid, j.image_id)
         when it.removes then nullif(j.image_id, (e.data->>'image_id')::uuid) else j.image_id end,
    case when it.begins then coalesce((e.data->>'priority')::smallint, 0::smallint)
         when it.reprioritises then (e.data->>'priority')::smallint else j.priority end,
    case when it.begins then coalesce((e.data->>'rank')::float8, 0)
         when it.retries or it.reroutes or it.reprioritises then (e.data->>'rank')::float8 else j.rank end,
    -- ready: whether it may be claimed now. The next column is run_at.
    case when not it.queues or it.claims or (j.executor_id is not null and it.run_at is null) then null
         when it.run_at is not null then it.run_at <= e.occurred_at
         -- A job imported without a run_at waits for its user's age verification.
         else coalesce(j.ready, not it.imports) end,
    case when it.claims or it.ends then null else coalesce(it.run_at, j.run_at) end,
    case when it.claims then e.claim_no else coalesce(j.claim_no, 0) end,
    case when it.claims then (e.data->>'executor_id')::uuid when it.releases then null else j.executor_id end,
    case when it.claims then e.occurred_at when it.releases then null else j.claimed_at end,
    case when it.claims then (e.data->>'deadline')::timestamptz when it.releases then null else j.deadline end,
    case when it.claims then j.attempts + 1 when it.snoozes then j.attempts - 1
         when it.retries then 0 else coalesce(j.attempts, 0) end,
    case when it.errs then j.errors + 1 when it.retries then 0 else coalesce(j.errors, 0) end,
    case when it.lapses then j.crashes + 1 when it.retries then 0 else coalesce(j.crashes, 0) end,
    case when it.lapses then j.device_crashes + (e.data->>'on_device')::boolean::integer
         when it.retries then 0 else coalesce(j.device_crashes, 0) end,
    case when it.lapses and (e.data->>'on_device')::boolean then e.data->>'executor'
         when it.retries then null else j.crashed_on end,
    case when it.snoozes then j.snoozes + 1 when it.retries then 0 else coalesce(j.snoozes, 0) end,
    case e.type when 'cancel_requested' then true when 'retried' then false else coalesce(j.cancel_requested, false) end,
    case when it.errs or it.fails then e.data->>'class' when it.imports then e.data->>'error_class'
         when it.retries then null else j.error_class end,
    coalesce(case when it.fails or it.imports then (e.data->>'final')::boolean else j.final end, false),
    e.type = 'prompt_enhanced' or coalesce(j.enhanced, false),
    case e.type when 'generation_started' then 0 when 'artifact_generated' then j.generated + 1 else coalesce(j.generated, 0) end,
    case e.type when 'artifact_uploaded' then j.uploaded + 1 else coalesce(j.uploaded, 0) end,
    case when it.begins then e.occurred_at else j.created_at end,
    e.occurred_at,
    case when it.imports then (e.data->>'completed_at')::timestamptz when it.ends then e.occurred_at
         when it.retries then null else j.completed_at end,
    j.format, j.quality, j.model_type, j.worker_type, j.metadata, j.error_message,  -- the legacy system's: no event carries them
    it.removes and coalesce(e.data->>'what' = 'job', false) or coalesce(j.hidden, false)
  from (
    select e.from_status is null as begins,
           e.type = 'imported' as imports,
           e.type = 'claimed' as claims,
           e.type = 'retry_scheduled' as errs,
           e.type = 'lease_expired' as lapses,
           e.type = 'snoozed' as snoozes,
           e.type = 'failed' as fails,
           e.type = 'retried' as retries,
           e.type = 'rerouted' as reroutes,
           e.type = 'reprioritised' as reprioritises,
           e.type = 'linked' as links,
           e.type = 'removed' as removes,
           e.type in ('retry_scheduled', 'lease_expired', 'snoozed', 'completed', 'failed', 'cancelled') as releases,
           e.to_status = 'queued' as queues,
           e.type in ('completed', 'failed', 'cancelled') as ends,
           (e.data->>'run_at')::timestamptz as run_at
    offset 0  -- computed once per event, not once per column
  ) as it
$$;
