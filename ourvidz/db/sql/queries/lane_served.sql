-- Finds, among the newest events, a job of this lane that an executor of this name has completed since an instant.
select done.job_id
from (select * from public.job_events order by xid desc, seq desc limit 10000) as done
join public.job_events as claimed
  on claimed.job_id = done.job_id and claimed.type = 'claimed' and claimed.claim_no = done.claim_no
join public.jobs as j on j.id = done.job_id
where done.type = 'completed' and done.occurred_at > %(since)s and claimed.data ->> 'executor' in (select called from ourvidz.executors where name = %(name)s) and j.lane = %(lane)s
limit 1
