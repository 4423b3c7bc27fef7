-- Handles the expired lease of a job's executor; the job's row is locked. A cancel requested before the crash takes effect here. A job that
-- keeps killing its executor is quarantined: it fails with class `quarantined`, and a person decides.
-- p_on_device: the job was on the device, so it may be the cause. p_blamed: some job was on it; a job that was not then gets no backoff.
-- Such a job's crashes count too, with a higher limit: an upload or a reference can also kill a process.
create or replace function ourvidz.expire_claim(j public.jobs, p_cause text, p_on_device boolean, p_blamed boolean) returns text
language plpgsql
as $$
declare
  v_policy ourvidz.policy;
  v_crashes constant integer := j.crashes + 1;
  v_executor text := coalesce((select called from ourvidz.executors where id = j.executor_id), 'unknown');
begin
  select * into v_policy from ourvidz.policy;
  if j.cancel_requested then
    perform ourvidz.append(array[j.id], 'cancelled', array['{}'::jsonb], 'reaper');
    return 'cancelled';
  elsif j.device_crashes + p_on_device::integer >= v_policy.crash_limit or v_crashes >= v_policy.lapse_limit then
    update public.job_payloads set error_message = format('The executor was lost %s times while it had this job.', v_crashes)
    where job_id = j.id;
    perform ourvidz.append(array[j.id], 'failed', array['{"class": "quarantined"}'::jsonb], 'reaper');
    return 'failed';
  end if;
  perform ourvidz.append(array[j.id], 'lease_expired', array[jsonb_build_object(
    'executor', v_executor, 'on_device', p_on_device, 'cause', p_cause,
    'run_at', ourvidz.utc_text(ourvidz.now() + case when v_crashes = 1 or p_blamed and not p_on_device then interval '0'
                                                   else ourvidz.backoff(v_crashes - 1, j.job_type) end))], 'reaper');
  perform ourvidz.wake(j.lane, 1);
  return 'lease_expired';
end
$$;
