-- Returns the newest row of each of these executors of a host, for their supervisor, and all others alive under those names.
select e.id, e.name, e.pid, e.state, e.info, extract(epoch from e.lease_until - clock.at)::float8 as lease_left,
       extract(epoch from clock.at - e.beat_at)::float8 as silent,
       (select coalesce(jsonb_agg(jsonb_build_array(id, lane, status, id = any (device.jobs))), '[]')
        from public.jobs cross join lateral (select ourvidz.on_device(e.id) as jobs) as device
        where executor_id = e.id) as held
from (select ourvidz.now() as at) as clock
cross join (
  select id, name, pid, state, info, lease_until, beat_at,
         row_number() over (partition by name order by started_at desc, id) as newest
  from ourvidz.executors where host = %(host)s and name = any (%(names)s)
) as e
where e.newest = 1 or e.state <> 'gone'
