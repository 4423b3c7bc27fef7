-- The newest row of each of these executors of a host, as their supervisor sees it, and whatever else is alive under those names.
select e.id, e.name, e.pid, e.state, e.info, extract(epoch from e.lease_until - clock.at)::float8 as lease_left,
       extract(epoch from clock.at - e.beat_at)::float8 as silent,
       (select coalesce(jsonb_agg(jsonb_build_array(j.id, j.lane, j.status, coalesce(began.at, 0))), '[]')
        from public.jobs as j
        cross join lateral (
          select extract(epoch from max(occurred_at))::float8 as at from public.job_events
          where job_id = j.id and type in ('enhancement_started', 'generation_started')
        ) as began
        where j.executor_id = e.id) as held
from (select ourvidz.now() as at) as clock
cross join (
  select id, name, pid, state, info, lease_until, beat_at,
         row_number() over (partition by name order by started_at desc, id) as newest
  from ourvidz.executors where host = %(host)s and name = any (%(names)s)
) as e
where e.newest = 1 or e.state <> 'gone'
