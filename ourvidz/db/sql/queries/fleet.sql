-- Returns each executor by name, from its newest row, with the job it works on; without those long gone.
select e.id, e.name, e.host, e.pid, e.state, e.lanes, e.resident, e.waiting, e.info, e.started_at, e.beat_at,
       extract(epoch from clock.at - e.beat_at)::float8 as beat_s, extract(epoch from e.lease_until - clock.at)::float8 as lease_s,
       e.state <> 'gone' and e.lease_until > clock.at as alive,
       j.id as job_id, j.job_type, j.lane, j.status, extract(epoch from clock.at - j.claimed_at)::float8 as job_s,
       (select count(*)::int from public.jobs where executor_id = e.id) as held
from (select ourvidz.now() as at) as clock
cross join (
  select id, name, host, pid, lanes, resident, state, waiting, started_at, beat_at, lease_until, info,
         row_number() over (partition by name, host order by started_at desc, id) as newest
  from ourvidz.fleet
) as e
left join lateral (
  -- The job on the device, if it holds several; else the first it claimed.
  select id, job_type, lane, status, claimed_at from public.jobs
  where executor_id = e.id
  order by status in ('enhancing', 'generating') desc, id::text = e.info ->> 'job' desc nulls last, claimed_at limit 1
) as j on true
where e.newest = 1 and (e.state <> 'gone' or e.beat_at > clock.at - make_interval(secs => %(gone_s)s))
order by e.name, e.host
