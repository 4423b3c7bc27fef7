-- Which of an executor's jobs were on its device: of those it holds, the one whose latest stage was begun last. Several when they were
-- begun together, in one statement, because they shared a pass. None when that one has left the device for its upload. A job is begun in
-- the log only once the device is free for it, so whatever was begun before it is only being encoded or uploaded.
create or replace function ourvidz.on_device(p_executor uuid) returns uuid[]
language sql stable
as $$
  select coalesce(array_agg(id) filter (where place = 1 and status in ('enhancing', 'generating')), '{}')
  from (
    select j.id, j.status, rank() over (order by last.begun desc) as place
    from public.jobs as j
    cross join lateral (
      -- The transaction's number: one clock reading may serve two events, one transaction only those of one statement.
      select e.xid as begun from public.job_events as e
      where e.submitted_on = j.submitted_on and e.job_id = j.id and e.claim_no = j.claim_no
        and e.type in ('enhancement_started', 'generation_started')
        and e.data->'on_device' is distinct from 'false'  -- by the enhancer's own process, with another job on the device
      order by e.version desc limit 1
    ) as last
    where j.executor_id = p_executor
  ) as held
$$;
