-- A client's request (user_id, job_type, prompt, config, metadata, project_id, video_id, image_id …) as submit_batch reads it: settings by
-- their names on the wire, and the prompt out of the project where the client gave none. What is another's is answered as if it were not
-- there: a refusal must not tell that it is.
create or replace function ourvidz.check_owned(p jsonb) returns jsonb
language plpgsql stable
as $$
declare
  v_user constant uuid := p->>'user_id';
  v_project public.projects;
  v_settings jsonb;
  v_said text;
begin
  foreach v_said in array array['config', 'metadata'] loop
    if coalesce(jsonb_typeof(p->v_said), 'null') not in ('object', 'null') then
      raise exception '% must be an object.', v_said using errcode = 'OV009', column = v_said;
    elsif length((p->v_said)::text) > 32768 then
      raise exception '% may have at most 32,768 characters.', v_said using errcode = 'OV009', column = v_said;
    elsif p->v_said @? '$.**{20 to last}' then  -- readers of JSON in other languages fall over ten thousand levels
      raise exception '% may have at most 20 levels.', v_said using errcode = 'OV009', column = v_said;
    end if;
  end loop;
  select * into v_project from public.projects where id = (p->>'project_id')::uuid and user_id = v_user;
  if not found and p->>'project_id' is not null then
    perform ourvidz.refuse_missing('project', 'project_id');
  elsif p->>'video_id' is not null
    and not exists (select from public.videos where id = (p->>'video_id')::uuid and user_id = v_user) then
    perform ourvidz.refuse_missing('video', 'video_id');
  elsif p->'metadata'->>'character_id' is not null
    and not exists (select from public.characters where user_id = v_user and id::text = lower(p->'metadata'->>'character_id')) then
    perform ourvidz.refuse_missing('character', 'character_id');
  end if;
  v_settings := ourvidz.wire_settings(p->>'job_type', coalesce(nullif(p->'config', 'null'), '{}'), p->'metadata');
  -- Those that the intake has read itself (`settings`, `told`) must be no others.
  for v_said in select value from jsonb_each_text(v_settings->'references')
                union all select value from jsonb_each_text(p->'settings'->'references')
                union all select value from jsonb_each_text(p->'told'->'references') loop
    -- An address elsewhere is the fetcher's to judge; an object of ours lies in its user's own folder.
    if v_said not like 'https://%' and (v_said !~ format('^[^/]+/%s/.', v_user) or v_said ~ '/[.]{0,2}(/|$)') then
      perform ourvidz.refuse_missing('reference picture', 'references');
    end if;
  end loop;
  return p - 'config' || jsonb_build_object('settings', v_settings, 'metadata', coalesce(nullif(p->'metadata', 'null'), '{}'),
    'prompt', coalesce(p->>'prompt', nullif(trim(v_project.enhanced_prompt), ''), nullif(trim(v_project.original_prompt), ''),
                       case jsonb_typeof(p->'metadata'->'prompt') when 'string' then p->'metadata'->>'prompt' end));
end
$$;

create or replace function ourvidz.refuse_missing(p_what text, p_field text) returns void
language plpgsql
as $$
begin
  raise exception 'There is no such % of yours.', p_what using errcode = 'OV018', column = p_field;
end
$$;
