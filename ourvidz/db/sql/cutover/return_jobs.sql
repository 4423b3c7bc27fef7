-- Copies the jobs since the switch into the legacy system's table, in its shape: those that it does not have, and those that changed since
-- they were imported. A running or waiting job goes back to the legacy workers. Fills whichever columns that table has.
create temp table returned on commit drop as
with told as (
  select j.*, to_jsonb(o) as older, p.error_message as why,
         case when j.status = 'completed' then 'completed' when j.status in ('failed', 'cancelled') then 'failed' else 'queued' end as word
  from public.jobs as j left join ourvidz.older_jobs as o on o.id = j.id left join public.job_payloads as p on p.job_id = j.id
  where not j.hidden and (o.id is null or j.version > 1)
), outputs as (
  select job_id, jsonb_agg(path order by index) as paths from public.artifacts
  where kind in ('image', 'video') and uploaded_at is not null and deleted_at is null group by job_id
)
select t.id, t.word, jsonb_build_object('attempts', 0, 'max_attempts', 3, 'moderation_status', 'pending') || coalesce(t.older, '{}')
  || jsonb_build_object(
    'id', t.id, 'user_id', t.user_id, 'job_type', t.job_type, 'status', t.word, 'project_id', t.project_id, 'video_id', t.video_id,
    'image_id', t.image_id, 'format', t.format, 'quality', t.quality, 'model_type', coalesce(t.model_type, t.job_type), 'created_at', t.created_at,
    'started_at', (select min(occurred_at) from public.job_events as e where e.job_id = t.id and e.type = 'generation_started'),
    'completed_at', t.completed_at, 'updated_at', t.updated_at,
    'error_message', case when t.status = 'cancelled' then 'cancelled' when t.word = 'failed' then coalesce(t.error_message, t.why, t.error_class) end,
    'metadata', coalesce(t.metadata, '{}')
      || case when o.paths is not null then jsonb_build_object('primary_asset', o.paths->0, 'all_assets', o.paths) else '{}' end) as job
from told as t left join outputs as o on o.job_id = t.id;

delete from ourvidz.older_jobs where id in (select id from returned union all select id from public.jobs where hidden);
insert into ourvidz.older_jobs
select filled.* from returned cross join lateral jsonb_populate_record(null::ourvidz.older_jobs, returned.job) as filled;
