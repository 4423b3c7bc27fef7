-- Shows every event, with the time until the job's next one.
create or replace view public.job_timeline with (security_invoker = true) as
select e.job_id, e.version, e.type, e.from_status, e.to_status, e.claim_no, e.actor, e.occurred_at,
       lead(e.occurred_at) over (partition by e.job_id order by e.version) - e.occurred_at as lasted,
       e.occurred_at - first_value(e.occurred_at) over (partition by e.job_id order by e.version) as since_submit,
       e.data
from public.job_events as e;
