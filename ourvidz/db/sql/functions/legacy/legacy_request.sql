-- Reads a job of the legacy system as any other request is read (ourvidz.normalise): type, lane, settings, what was set aside. Null if it
-- cannot be made here: unknown type, no prompt, or values that we refuse.
create or replace function ourvidz.legacy_request(p_user uuid, p_type text, p_metadata jsonb, p_prompt text) returns jsonb
language plpgsql volatile
as $$
declare
  v_read jsonb;
begin
  if coalesce(p_prompt, '') = '' then
    return null;
  end if;
  v_read := ourvidz.normalise(jsonb_build_object('user_id', p_user, 'job_type', p_type, 'prompt', p_prompt, 'metadata', p_metadata), 'import');
  return v_read || jsonb_build_object('settings', jsonb_build_object('seed', floor(random() * 4294967296)::bigint) || (v_read->'settings'));
exception when sqlstate 'OV009' or sqlstate 'OV018' then
  return null;
end
$$;
