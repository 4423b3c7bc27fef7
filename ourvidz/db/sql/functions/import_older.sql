-- Gives each job of the older system (ourvidz.older_jobs) its one `imported` event, and with it a row here; those that have one stay as
-- they are, so it may be called again. Returns how many came. Run by the migration, as its role.
--
-- An ended job comes as it ended. One that was waiting or at work goes into the queue if it is of today and can be made; else it has
-- failed, and a person may retry it where its prompt is known. What no event tells (metadata, error text) comes along beside it.
create or replace function ourvidz.import_older() returns bigint
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_zero constant bytea := decode(repeat('00', 32), 'hex');
  v_count bigint;
begin
  create temp table older on commit drop as
  select o.*, s.settings, sha256(convert_to(gen_random_uuid()::text, 'UTF8')) as salt
  from ourvidz.older_told(v_now) as o
  cross join lateral ourvidz.older_settings(o.job_type, o.metadata, o.prompt) as s (settings)
  where not exists (select from public.jobs as j where j.id = o.id);

  insert into public.job_events (submitted_on, job_id, version, type, to_status, actor, occurred_at, data, prev_hash, hash)
  select (o.created_at at time zone 'UTC')::date, o.id, 1, 'imported', e.status, 'migration', o.created_at, e.data, v_zero,
         ourvidz.event_hash(v_zero, o.id, 1, 'imported', null, e.status, null, 'migration', o.created_at, e.data)
  from older as o
  cross join lateral (select o.waited and o.recent and o.verified and o.settings is not null as queues) as may
  cross join lateral (select case when may.queues then 'queued' when o.waited then 'failed' else o.status end as status) as becomes
  left join ourvidz.job_types as kind on kind.name = o.job_type
  cross join lateral (select becomes.status, jsonb_strip_nulls(jsonb_build_object(
    'user_id', o.user_id, 'job_type', o.job_type, 'lane', coalesce(ourvidz.lane_of(kind.family, o.settings), 'older'),
    'priority', coalesce(o.level * 2 + kind.fast::integer, 0), 'rank', 0, 'run_at', case when may.queues then o.created_at end,
    'project_id', o.project_id, 'video_id', o.video_id, 'image_id', o.image_id, 'status', o.older_status,
    'error_class', case when becomes.status = 'failed' then case when o.waited then 'abandoned' else 'older_system' end end,
    'final', case when becomes.status in ('failed', 'cancelled') then o.settings is null end,
    'completed_at', case when not may.queues then greatest(o.completed_at, o.created_at) end)) as data) as e;
  get diagnostics v_count = row_count;

  insert into public.job_payloads (job_id, user_id, prompt, settings, metadata, salt, body_digest, error_message)
  select id, user_id, prompt, settings, metadata, salt, sha256(convert_to(id::text, 'UTF8')), left(error_message, 2000)
  from older where settings is not null;
  update public.jobs as j
  set format = o.format, quality = o.quality, model_type = o.model_type, worker_type = o.worker_type, metadata = o.metadata,
      error_message = o.error_message
  from older as o where o.id = j.id;
  drop table older;
  perform ourvidz.repoint_older();
  return v_count;
end
$$;
