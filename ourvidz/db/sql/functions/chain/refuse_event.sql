-- Raises why events_apply could not apply an event: an illegal step (OV001) or a broken chain (OV005), with the job and how to fix it.
create or replace function ourvidz.refuse_event(
  p_job uuid, p_version integer, p_type text, p_from text, p_to text, p_claim_no bigint, p_data jsonb
) returns void
language plpgsql
as $$
declare
  j public.jobs;
begin
  select * into j from public.jobs where id = p_job;
  if not exists (select from ourvidz.event_types where name = p_type) then
    raise exception 'Job %: there is no event type "%".', p_job, p_type using errcode = 'OV001';
  elsif not exists (select from ourvidz.transitions as t
                    where t.event = p_type and t.source is not distinct from p_from and t.target = p_to) then
    raise exception 'Job %: % may not happen to a job that is % (to %).', p_job, p_type, coalesce(p_from, 'not there yet'), p_to
      using errcode = 'OV001', hint = 'Read the job again: its status decides what may come next.';
  elsif p_from is null and j.id is not null then
    raise exception 'Job % exists already.', p_job using errcode = 'OV005';
  elsif p_from is not null and j.id is null then
    raise exception 'There is no job %.', p_job using errcode = 'OV006';
  elsif ourvidz.invalid_keys(p_type, p_data) <> '{}' then
    raise exception 'Job %: an event % may not hold these keys, or not with these values: %.', p_job, p_type,
      left(array_to_string(ourvidz.invalid_keys(p_type, p_data), ', '), 200)
      using errcode = 'OV005', hint = 'Events hold figures, ids and values from lists (ourvidz.event_types), and nothing that a person wrote.';
  elsif p_from is not null and p_from <> j.status then
    raise exception 'Job % is %, not %: % does not apply.', p_job, j.status, p_from, p_type using errcode = 'OV001';
  elsif p_type = 'retried' and j.final then
    raise exception 'Job % was refused for good (%): no retry may follow.', p_job, j.error_class using errcode = 'OV011';
  elsif p_type = 'retried' and j.hidden then
    raise exception 'Job % was deleted from its owner''s library: no retry may follow.', p_job using errcode = 'OV001';
  elsif p_type in ('linked', 'removed') and not ourvidz.may_change_library(j, p_type, p_data) then
    raise exception 'Job % is % and %: it may not be % by %.', p_job, j.status,
      concat_ws(' and ', case when j.hidden then 'deleted by its owner' else 'in its owner''s library' end,
                'linked to image ' || j.image_id, 'linked to video ' || j.video_id), p_type, p_data
      using errcode = 'OV001', hint = 'A job is linked to one image and one video, once; it is deleted when it has ended, once.';
  elsif exists (select from ourvidz.transitions as t
                where t.event = p_type and t.source = p_from
                  and (t.before = 'held' and j.executor_id is null or t.before = 'free' and j.executor_id is not null)) then
    raise exception 'Job % is %held by an executor: % may not happen to it.', p_job,
      case when j.executor_id is null then 'not ' else '' end, p_type using errcode = 'OV001';
  elsif p_type = 'rerouted' and not ourvidz.may_reroute(j.job_type, p_data) then
    raise exception 'Job % is a %: it may not be rerouted to % in lane %.', p_job, j.job_type, p_data->>'job_type', p_data->>'lane'
      using errcode = 'OV001', hint = 'Call ourvidz.reroute: it knows the fallback of each type.';
  elsif p_type <> 'claimed' and j.executor_id is not null and p_claim_no is distinct from j.claim_no then
    raise exception 'Job %: claim % holds it, not claim %.', p_job, j.claim_no, p_claim_no using errcode = 'OV002';
  end if;
  raise exception 'Job %: event % (%) does not follow its last one, version %: its version, hashes, claim number or time are wrong.',
    p_job, p_version, p_type, j.version
    using errcode = 'OV005', hint = 'Call the functions of schema ourvidz; they write events that follow.';
end
$$;
