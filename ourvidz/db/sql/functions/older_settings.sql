-- Settings with which a job of the older system can be made here; null where it cannot: no such type, no prompt, or values that we refuse.
create or replace function ourvidz.older_settings(p_type text, p_metadata jsonb, p_prompt text) returns jsonb
language plpgsql volatile
as $$
declare
  v_kind ourvidz.job_types;
  v_settings jsonb;
begin
  select * into v_kind from ourvidz.job_types where name = p_type;
  if not found or coalesce(p_prompt, '') = '' then
    return null;
  end if;
  v_settings := jsonb_build_object('seed', floor(random() * 4294967296)::bigint)
                || ourvidz.whole_settings(v_kind, ourvidz.wire_settings(p_type, '{}', p_metadata));
  perform ourvidz.check_references(v_kind, coalesce(v_settings->'references', '{}'));
  perform ourvidz.check_settings(p_type, v_settings, v_kind.limits);
  return v_settings;
exception when sqlstate 'OV009' then
  return null;
end
$$;
