-- Counts the jobs that can be claimed now or soon: an executor does not exit for idleness while a job waits for its backoff.
select lane, count(*)::int as ready
from public.jobs
where ready or not ready and run_at < (select ourvidz.now() + make_interval(secs => backoff_max) from ourvidz.policy)
group by lane
