-- Refuses a request whose parts are not what they are called, or that are too big to keep.
create or replace function ourvidz.check_request(p jsonb) returns void
language plpgsql immutable
as $$
declare
  v_part text;
begin
  foreach v_part in array array['config', 'metadata', 'settings'] loop
    if coalesce(jsonb_typeof(p->v_part), 'null') not in ('object', 'null') then
      raise exception '% must be an object.', v_part using errcode = 'OV009', column = v_part;
    elsif length((p->v_part)::text) > 32768 then
      raise exception '% may have at most 32,768 characters.', v_part using errcode = 'OV009', column = v_part;
    elsif p->v_part @? '$.**{20 to last}' then  -- readers of JSON in other languages fall over ten thousand levels
      raise exception '% may have at most 20 levels.', v_part using errcode = 'OV009', column = v_part;
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
