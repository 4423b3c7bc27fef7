-- Settings with which a job of the older system can be made here; null where it cannot: no such type, no prompt, or values that we refuse.
create or replace function ourvidz.older_settings(p_type text, p_metadata jsonb, p_prompt text) returns jsonb
language plpgsql volatile
as $$
begin
  if coalesce(p_prompt, '') = '' then
    return null;
  end if;
  return jsonb_build_object('seed', floor(random() * 4294967296)::bigint)
      || (ourvidz.normalise(jsonb_build_object('job_type', p_type, 'metadata', p_metadata), 'import')->'settings');
exception when sqlstate 'OV009' or sqlstate 'OV018' then
  return null;
end
$$;
