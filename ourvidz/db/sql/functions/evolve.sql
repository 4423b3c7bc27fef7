-- The job after one event: the database's fold, written once. events_apply updates rows with it, ourvidz.fold replays with it.
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
    case when e.from_status is null then (e.data->>'user_id')::uuid else j.user_id end,
    case when e.from_status is null or e.type = 'rerouted' then e.data->>'job_type' else j.job_type end,
    case when e.from_status is null or e.type = 'rerouted' then e.data->>'lane' else j.lane end,
    case when e.from_status is null then (e.data->>'project_id')::uuid else j.project_id end,
    case when e.from_status is null then (e.data->>'video_id')::uuid else j.video_id end,
    case when e.from_status is null then (e.data->>'image_id')::uuid else j.image_id end,
    case when e.from_status is null then coalesce((e.data->>'priority')::smallint, 0::smallint)
         when e.type = 'reprioritised' then (e.data->>'priority')::smallint else j.priority end,
    case when e.from_status is null then coalesce((e.data->>'rank')::float8, 0)
         when e.type in ('retried', 'rerouted', 'reprioritised') then (e.data->>'rank')::float8 else j.rank end,
    -- ready: whether it may be claimed now; run_at is that of the next line
    case when e.to_status <> 'queued' then null
         when e.type = 'claimed' or (j.executor_id is not null and e.data->'run_at' is null) then null
         when e.data->'run_at' is not null then (e.data->>'run_at')::timestamptz <= e.occurred_at
         else coalesce(j.ready, true) end,
    case when e.type = 'claimed' or e.to_status in ('completed', 'failed', 'cancelled') then null
         when e.data->'run_at' is not null then (e.data->>'run_at')::timestamptz else j.run_at end,
    case when e.type = 'claimed' then e.claim_no else coalesce(j.claim_no, 0) end,
    case when e.type = 'claimed' then (e.data->>'executor_id')::uuid
         when ended.claim then null else j.executor_id end,
    case when e.type = 'claimed' then e.occurred_at when ended.claim then null else j.claimed_at end,
    case when e.type = 'claimed' then (e.data->>'deadline')::timestamptz when ended.claim then null else j.deadline end,
    case e.type when 'claimed' then j.attempts + 1 when 'snoozed' then j.attempts - 1
                when 'retried' then 0 else coalesce(j.attempts, 0) end,
    case e.type when 'retry_scheduled' then j.errors + 1 when 'retried' then 0 else coalesce(j.errors, 0) end,
    case e.type when 'lease_expired' then j.crashes + 1 when 'retried' then 0 else coalesce(j.crashes, 0) end,
    case e.type when 'lease_expired' then j.device_crashes + (e.data->>'on_device')::boolean::integer
                when 'retried' then 0 else coalesce(j.device_crashes, 0) end,
    case when e.type = 'lease_expired' and (e.data->>'on_device')::boolean then e.data->>'executor'
         when e.type = 'retried' then null else j.crashed_on end,
    case e.type when 'snoozed' then j.snoozes + 1 when 'retried' then 0 else coalesce(j.snoozes, 0) end,
    case e.type when 'cancel_requested' then true when 'retried' then false else coalesce(j.cancel_requested, false) end,
    case when e.type in ('retry_scheduled', 'failed') then e.data->>'class'
         when e.type = 'imported' then e.data->>'error_class'
         when e.type = 'retried' then null else j.error_class end,
    case when e.type in ('failed', 'imported') then coalesce((e.data->>'final')::boolean, false) else coalesce(j.final, false) end,
    case e.type when 'prompt_enhanced' then true else coalesce(j.enhanced, false) end,
    case e.type when 'generation_started' then 0 when 'artifact_generated' then j.generated + 1 else coalesce(j.generated, 0) end,
    case e.type when 'artifact_uploaded' then j.uploaded + 1 else coalesce(j.uploaded, 0) end,
    case when e.from_status is null then e.occurred_at else j.created_at end,
    e.occurred_at,
    case when e.type = 'imported' then (e.data->>'completed_at')::timestamptz
         when e.to_status in ('completed', 'failed', 'cancelled') then e.occurred_at
         when e.type = 'retried' then null else j.completed_at end
  from (select e.type in ('retry_scheduled', 'lease_expired', 'snoozed', 'completed', 'failed', 'cancelled') as claim) as ended
$$;
