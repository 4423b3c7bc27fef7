-- One message: a new job, the row that is there already (which wins), or a refusal, which leaves nothing behind.
create or replace function ourvidz.intake_one(p_message jsonb) returns jsonb
language plpgsql
as $$
declare
  j public.jobs;
  v_outcome text := 'joined';
  v_field text;
begin
  select * into j from public.jobs where id = (p_message->>'id')::uuid for update;
  if not found then
    return ourvidz.intake_fresh(jsonb_build_array(p_message))->0;
  elsif j.user_id <> (p_message->>'user_id')::uuid
     -- The type it began with: it may have gone to its fallback since.
     or p_message->>'job_type' <> (select data->>'job_type' from public.job_events where job_id = j.id and version = 1) then
    raise exception 'Job % is there already, and it is another user''s or of another type than the message says.', j.id using errcode = 'OV008';
  elsif exists (select from ourvidz.intake_messages where message_id = j.id and outcome in ('drained', 'joined')) then
    v_outcome := 'repeated';
  elsif j.claim_no = 0 and j.status = 'queued' and j.job_type = p_message->>'job_type' then
    perform ourvidz.check_owned(p_message);
    perform ourvidz.intake_settings(j, p_message->'told');
  end if;
  return jsonb_build_object('ord', p_message->'ord', 'outcome', v_outcome);
exception when others then
  perform ourvidz.only_refusals(sqlstate, sqlerrm);
  get stacked diagnostics v_field = column_name;
  return jsonb_strip_nulls(jsonb_build_object('ord', p_message->'ord', 'outcome', 'refused', 'reason', sqlstate, 'detail', sqlerrm,
                                              'field', nullif(v_field, '')));
end
$$;
