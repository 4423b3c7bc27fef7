-- Processes one message: a new job, the existing row (which wins), or a refusal, which leaves nothing behind.
create or replace function ourvidz.intake_one(p_message jsonb) returns jsonb
language plpgsql
as $$
declare
  v_outcome text;
  v_field text;
begin
  if not exists (select from public.jobs where id = (p_message->>'id')::uuid) then
    return ourvidz.intake_fresh(jsonb_build_array(p_message))->0;
  end if;
  perform ourvidz.check_message(p_message);
  v_outcome := ourvidz.intake_join(p_message->'raw');
  return jsonb_build_object('ord', p_message->'ord', 'outcome', v_outcome);
exception when others then
  perform ourvidz.reraise_unless_refusal(sqlstate, sqlerrm);
  get stacked diagnostics v_field = column_name;
  return jsonb_strip_nulls(jsonb_build_object('ord', p_message->'ord', 'outcome', 'refused', 'reason', sqlstate, 'detail', sqlerrm,
                                              'field', nullif(v_field, '')));
end
$$;
