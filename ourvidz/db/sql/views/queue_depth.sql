-- Counts unfinished jobs by lane and priority: claimable now, scheduled for later, and held by executors.
create or replace view public.queue_depth with (security_invoker = true) as
select lane, priority,
       count(*) filter (where ready) as ready,
       count(*) filter (where not ready) as scheduled,
       count(*) filter (where executor_id is not null) as held,
       ourvidz.now() - min(run_at) filter (where ready) as waiting_longest
from public.jobs
where ready or not ready or executor_id is not null
group by lane, priority;
