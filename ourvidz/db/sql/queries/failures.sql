-- Returns the last failed attempts, newest first, among the newest events, and what policy made of each.
select e.job_id, j.job_type, e.type, e.occurred_at, coalesce(e.data ->> 'class', e.data ->> 'cause') as reason,
       e.data ->> 'executor' as executor, j.status
from (select * from public.job_events order by xid desc, seq desc limit 10000) as e
join public.jobs as j on j.id = e.job_id
where e.type in ('failed', 'retry_scheduled', 'lease_expired')
order by e.xid desc, e.seq desc
limit %(limit)s
