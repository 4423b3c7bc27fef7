-- Joins a message to its existing job: `joined`, with the settings that only the message has if nobody has claimed the job yet, or
-- `repeated`. Refuses a message that describes a different job.
create or replace function ourvidz.intake_join(p_raw jsonb) returns text
language plpgsql
as $$
declare
  a constant ourvidz.asked_job := (ourvidz.normalise_requests(jsonb_build_array(p_raw), 'redis'))[1];
  j public.jobs;
begin
  select * into j from public.jobs where id = a.id for update;
  if j.user_id is distinct from a.user_id
     -- The type it began with: it may have been rerouted to its fallback since.
     or a.job_type is distinct from (select data->>'job_type' from public.job_events where job_id = j.id and version = 1) then
    raise exception 'Job % is there already, and it is another user''s or of another type than the message says.', j.id using errcode = 'OV008';
  elsif exists (select from ourvidz.intake_messages where message_id = j.id and outcome in ('drained', 'joined')) then
    return 'repeated';
  end if;
  perform ourvidz.check_references_and_settings(a, ourvidz.kind_of(a.job_type));
  if j.claim_no = 0 and j.status = 'queued' and j.job_type = a.job_type then
    perform ourvidz.intake_settings(j, a);
  end if;
  return 'joined';
end
$$;

-- ourvidz.submit for one message.
create or replace function ourvidz.intake_submit(p_raw jsonb) returns jsonb
language plpgsql
as $$
declare
  v_id constant uuid := ourvidz.read_message(p_raw)->>'id';
  v_made record;
begin
  if exists (select from public.jobs where id = v_id) then
    perform ourvidz.intake_join(p_raw);
    return ourvidz.submitted(v_id, false);
  end if;
  select * into v_made from ourvidz.submit_batch(jsonb_build_array(p_raw), 'intake', 'redis');
  return ourvidz.submitted(v_made.job_id, v_made.created);
end
$$;
