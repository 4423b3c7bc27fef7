-- What could be claimed now, or soon: a job that waits out its backoff is no reason to go home.
select lane, count(*)::int as ready
from public.jobs
where ready or not ready and run_at < (select ourvidz.now() + make_interval(secs => backoff_max) from ourvidz.policy)
group by lane
