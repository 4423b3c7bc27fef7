-- Refuses a request with parts of the wrong type or too large to keep. p_bounded: it came through ourvidz.rpc.
create or replace function ourvidz.check_request(p jsonb, p_bounded boolean default false) returns void
language plpgsql stable
as $$
declare
  v_limits ourvidz.limits;
  v_part text;
begin
  select * into v_limits from ourvidz.limits;
  if not p_bounded then  -- the rest is hashed as text and populates columns
    perform ourvidz.check_value(p - '{config,metadata,settings,request}'::text[], 'request', v_limits.row_bytes);
  end if;
  foreach v_part in array array['config', 'metadata', 'settings'] loop
    if coalesce(jsonb_typeof(p->v_part), 'null') not in ('object', 'null') then
      raise exception '% must be an object.', v_part using errcode = 'OV009', column = v_part;
    end if;
    if not p_bounded or pg_column_size(p->v_part) > v_limits.settings_bytes then
      perform ourvidz.check_value(p->v_part, v_part, v_limits.settings_bytes);
    end if;
  end loop;
  if coalesce(jsonb_typeof(p->'settings'->'references'), 'null') not in ('object', 'null') then
    raise exception 'references must map a slot to a ''bucket/path'' or an https:// URL.' using errcode = 'OV009', column = 'references';
  end if;
  foreach v_part in array array['negative_prompt', 'negativePrompt'] loop
    if coalesce(jsonb_typeof(p->'metadata'->v_part), 'null') not in ('string', 'null') then
      raise exception 'metadata.% must be text.', v_part using errcode = 'OV009', column = 'negative_prompt';
    end if;
  end loop;
end
$$;
