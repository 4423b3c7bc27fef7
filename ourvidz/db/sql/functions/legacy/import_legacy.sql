-- Writes one `imported` event for each job of the legacy system (ourvidz.older_jobs), which creates its row here. Skips jobs that have one,
-- so it may be called again. Returns how many were imported. Run by the migration, as its role.
--
-- An ended job keeps its end. One that was waiting or running is queued, however old, if it can be made; otherwise it has failed. Nobody
-- claims it before its user's age is verified: until then it has no run_at (ourvidz.verified_follow sets it). What no event carries
-- (metadata, error text) is copied.
create or replace function ourvidz.import_legacy() returns bigint
language plpgsql
as $$
declare
  v_now constant timestamptz := ourvidz.now();
  v_zero constant bytea := decode(repeat('00', 32), 'hex');
  v_count bigint;
begin
  create temp table older on commit drop as
  select o.*, r.read, r.read->'settings' as settings, coalesce(r.read->>'job_type', o.job_type) as made_as,
         sha256(convert_to(gen_random_uuid()::text, 'UTF8')) as salt
  from ourvidz.legacy_jobs_read(v_now) as o
  cross join lateral (select ourvidz.legacy_request(o.user_id, o.job_type, o.metadata, o.prompt) as read offset 0) as r
  where (select j.id from public.jobs as j where j.id = o.id) is null;

  insert into public.job_events (submitted_on, job_id, version, type, to_status, actor, occurred_at, data, prev_hash, hash)
  select (o.created_at at time zone 'UTC')::date, o.id, 1, 'imported', e.status, 'migration', o.created_at, e.data, v_zero,
         ourvidz.event_hash(v_zero, o.id, 1, 'imported', null, e.status, null, 'migration', o.created_at, e.data)
  from older as o
  cross join lateral (select o.waited and o.settings is not null as queues) as may
  cross join lateral (select case when may.queues then 'queued' when o.waited then 'failed' else o.status end as status) as becomes
  left join ourvidz.job_types as kind on kind.name = o.made_as
  cross join lateral (select becomes.status, jsonb_strip_nulls(jsonb_build_object(
    'user_id', o.user_id, 'job_type', o.made_as, 'lane', coalesce(o.read->>'lane', 'older'),
    'priority', coalesce(o.level * 2 + kind.fast::integer, 0), 'rank', 0,
    'run_at', ourvidz.utc_text(case when may.queues and o.verified then o.created_at end),
    'project_id', o.project_id, 'video_id', o.video_id, 'image_id', o.image_id, 'status', o.older_status,
    'error_class', case when becomes.status = 'failed' then case when o.waited then 'abandoned' else 'older_system' end end,
    'final', case when becomes.status in ('failed', 'cancelled') then o.settings is null end,
    'completed_at', ourvidz.utc_text(case when not may.queues then greatest(o.completed_at, o.created_at) end))) as data) as e;
  get diagnostics v_count = row_count;

  insert into public.job_payloads (job_id, user_id, prompt, negative_prompt, settings, set_aside, metadata, salt, body_digest, error_message)
  select id, user_id, prompt, read->>'negative_prompt', settings, nullif(read->'set_aside', '[]'), metadata, salt,
         sha256(convert_to(id::text, 'UTF8')), left(error_message, 2000)
  from older where settings is not null;
  update public.jobs as j
  set format = coalesce(o.format, c.told->>'format'), quality = coalesce(o.quality, c.told->>'quality'),
      model_type = coalesce(o.model_type, c.told->>'model_type'), worker_type = coalesce(o.worker_type, c.told->>'worker_type'),
      metadata = o.metadata, error_message = o.error_message
  from older as o left join ourvidz.job_types as kind on kind.name = o.made_as
  cross join lateral (select ourvidz.legacy_columns(kind, null) as told offset 0) as c
  where j.id = any (array(select id from older)) and o.id = j.id;
  drop table older;
  perform ourvidz.repoint_legacy();
  return v_count;
end
$$;
