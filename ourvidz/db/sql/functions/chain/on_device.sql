-- Returns which of an executor's jobs were on its device: of those it holds, the one whose latest stage began last. Several if one
-- statement began them together, because they shared a pass. None if that job has left the device for its upload. A stage begins in the log
-- only once the device is free for it, so jobs whose stage began earlier are only being encoded or uploaded.
create or replace function ourvidz.on_device(p_executor uuid) returns uuid[]
language sql stable
as $$
  select coalesce(array_agg(id) filter (where place = 1 and status in ('enhancing', 'generating')), '{}')
  from (
    select j.id, j.status, rank() over (order by last.begun desc) as place
    from public.jobs as j
    cross join lateral (
      -- By transaction id: two events may have the same time, but one transaction has only the events of one statement.
      select e.xid as begun from public.job_events as e
      where e.submitted_on = j.submitted_on and e.job_id = j.id and e.claim_no = j.claim_no
        and e.type in ('enhancement_started', 'generation_started')
        and e.data->'on_device' is distinct from 'false'  -- false: run by the enhancer's own process, with another job on the device
      order by e.version desc limit 1
    ) as last
    where j.executor_id = p_executor
  ) as held
$$;
