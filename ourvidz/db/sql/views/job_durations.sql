-- Seconds each finished job spent in each stage, over all its attempts, and altogether.
create or replace view public.job_durations with (security_invoker = true) as
select j.id as job_id, j.job_type, j.status, j.attempts,
       extract(epoch from j.completed_at - j.created_at)::float8 as total_s,
       coalesce(sum(extract(epoch from t.lasted)) filter (where t.to_status = 'queued'), 0)::float8 as queued_s,
       coalesce(sum(extract(epoch from t.lasted)) filter (where t.to_status = 'enhancing'), 0)::float8 as enhancing_s,
       coalesce(sum(extract(epoch from t.lasted)) filter (where t.to_status = 'generating'), 0)::float8 as generating_s,
       coalesce(sum(extract(epoch from t.lasted)) filter (where t.to_status = 'uploading'), 0)::float8 as uploading_s
from public.jobs as j
join public.job_timeline as t on t.job_id = j.id
where j.completed_at is not null
group by j.id;
