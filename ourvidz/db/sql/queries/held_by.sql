-- Returns the registrations of an executor's process that are still to be declared gone, each with the jobs it holds: those not gone yet,
-- and those whose last claim was in flight when they were.
select e.id as executor_id, j.id as job_id, j.lane, j.status, coalesce(j.id = any (ourvidz.on_device(e.id)), false) as on_device
from ourvidz.executors as e
left join public.jobs as j on j.executor_id = e.id
where e.host = %(host)s and e.name = %(name)s and e.pid = %(pid)s and (e.state <> 'gone' or j.id is not null)
