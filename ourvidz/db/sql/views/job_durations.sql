-- Shows the seconds that each finished job spent in each stage, over all its attempts, and in total. Time in status queued is split:
-- queued_s claimable, scheduled_s before its run_at (a requested delay, a backoff), preparing_s claimed but not yet in a stage (references,
-- screens, loading the model). job_id is that of the events: only then can a condition on several ids use the events' index.
create or replace view public.job_durations with (security_invoker = true) as
select t.job_id, j.job_type, j.status, j.attempts,
       extract(epoch from j.completed_at - j.created_at)::float8 as total_s,
       coalesce(sum(t.claimable), 0)::float8 as queued_s,
       coalesce(sum(t.seconds) filter (where t.to_status = 'enhancing'), 0)::float8 as enhancing_s,
       coalesce(sum(t.seconds) filter (where t.to_status = 'generating'), 0)::float8 as generating_s,
       coalesce(sum(t.seconds) filter (where t.to_status = 'uploading'), 0)::float8 as uploading_s,
       coalesce(sum(t.seconds - t.claimable) filter (where not t.held), 0)::float8 as scheduled_s,
       coalesce(sum(t.seconds) filter (where t.held), 0)::float8 as preparing_s
from public.jobs as j
join (
  select e.job_id, e.to_status, extract(epoch from e.ends - e.occurred_at) as seconds, e.held,
         case when not e.held
              then greatest(extract(epoch from e.ends - greatest(
                     e.occurred_at, coalesce(max(e.run_at) over (partition by e.job_id, e.runs), e.ends))), 0)
         end as claimable
  from (
    select *, (data->>'run_at')::timestamptz as run_at, occurred_at + lasted as ends,
           count(data->>'run_at') over so_far as runs,  -- which run_at is in force; without one it waits for its user's age to be verified
           case when to_status = 'queued'  -- claimed, and not given back since
                then coalesce(max(version) filter (where type = 'claimed') over so_far, 0)
                     > max(version) filter (where from_status is null or type = any (
                         '{retry_scheduled,lease_expired,snoozed,retried}')) over so_far end as held
    from public.job_timeline
    window so_far as (partition by job_id order by version)
  ) as e
) as t on t.job_id = j.id
where j.completed_at is not null
group by t.job_id, j.id;
