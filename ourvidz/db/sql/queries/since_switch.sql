-- Returns the state of the service since the switch, in one row (`ourvidz cutover watch`). by_message: the job's metadata shows that the
-- deployed queue-job made it, which pushes a message for each.
with since as (
  select min(at) as at from ourvidz_before.shape
), jobs as (
  select j.*, j.metadata ? 'edge_function_version' and not j.metadata ? 'callback_processed_at' as by_message from public.jobs as j, since where j.created_at > since.at
)
select since.at,
  (select count(*) from jobs where status = 'completed') as completed,
  (select count(*) from jobs where status = 'failed') as failed,
  (select string_agg(distinct error_class, ', ') from jobs where status = 'failed') as classes,
  (select count(*) from public.jobs where status in ('enhancing', 'generating', 'uploading')) as at_work,
  (select count(*) from public.jobs where status = 'queued') as waiting,
  (select max(extract(epoch from ourvidz.now() - run_at)) from public.jobs as j where ready
     and exists (select from public.profiles as p where p.id = j.user_id and p.age_verified)) as longest,
  (select count(*) from public.jobs as j join public.profiles as p on p.id = j.user_id where j.status = 'queued' and not p.age_verified) as unverified,
  (select count(*) from jobs as j where by_message and j.created_at < ourvidz.now() - interval '60 s'
     and not exists (select from ourvidz.intake_messages as m where m.message_id = j.id)) as elsewhere,
  (select count(*) from public.jobs as j, since where j.metadata ? 'callback_processed_at' and j.updated_at > since.at
     and (j.metadata->>'callback_processed_at')::timestamptz > since.at) as older_callbacks,
  (select count(*) from ourvidz.intake_messages as m, since where m.at > since.at and m.outcome = 'refused') as refused,
  (select string_agg(distinct coalesce(m.field, m.reason), ', ') from ourvidz.intake_messages as m, since where m.at > since.at and m.outcome = 'refused') as fields,
  (select count(*) from public.images as i join jobs as j on j.id = i.job_id where j.status in ('completed', 'failed') and i.status not in ('completed', 'failed')
     and j.completed_at < ourvidz.now() - interval '10 s') as behind,
  (select count(*) from ourvidz.executors where state = 'active' and lease_until > ourvidz.now()) as executors
from since
