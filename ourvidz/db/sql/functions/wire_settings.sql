-- A job's settings out of the names that clients use; config wins over metadata, a later name over an earlier one (state/wire.py, which
-- the tests hold equal to this). Values pass as they are: check_settings judges them. Config may hold no name that we do not know.
create or replace function ourvidz.wire_settings(p_type text, p_config jsonb, p_metadata jsonb) returns jsonb
language plpgsql stable
as $$
declare
  v_kind ourvidz.job_types;
  v_unknown text;
  v_found jsonb;
begin
  select * into v_kind from ourvidz.job_types where name = p_type;
  select key into v_unknown from jsonb_object_keys(p_config) as key
  where not exists (select from ourvidz.wire_names where name = key) and not key = any (ourvidz.wire_ignored())
  order by key collate "C" limit 1;
  if v_unknown is not null then
    raise exception 'config has no field "%".', left(v_unknown, 40) using errcode = 'OV009', column = 'config.' || left(v_unknown, 40);
  end if;
  with said as (
    select p.n, w.n as rank, w.setting, p.said->w.name as value,
           -- The one picture that an older sender gives to an img2img job is what it starts from.
           v_kind.init_image and w.name in ('reference_image_url', 'image') and not p.said ?| '{init_image,init_image_url}' as starts
    from (values (1, p_metadata), (2, p_config)) as p (n, said)
    join ourvidz.wire_names as w on w.family in ('any', v_kind.family)
    where jsonb_typeof(p.said) = 'object' and p.said->w.name <> 'null'
  ), plain as (
    select n, rank, setting, value from said where setting not like 'references.%' and setting <> 'size'
    union all
    -- Before the names beside it: a width of its own wins over the size's.
    select n, -1, side.setting, ourvidz.wire_side(value, side.place)
    from said cross join (values ('width', 1), ('height', 2)) as side (setting, place) where said.setting = 'size'
  )
  select coalesce((select jsonb_object_agg(setting, value order by n, rank) from plain), '{}')
      || coalesce((select jsonb_build_object('references', jsonb_object_agg(
                            case when starts then 'init' else split_part(setting, '.', 2) end, value order by n, rank))
                   from said where setting like 'references.%' having count(*) > 0), '{}')
  into v_found;
  -- Wan makes 4k+1 frames: the wire's 83 is 81, and both are recorded. Whatever is no such count is left for check_settings to refuse.
  if jsonb_typeof(v_found->'frames') = 'number' and (v_found->>'frames')::numeric between 1 and 161 and scale((v_found->>'frames')::numeric) = 0 then
    v_found := v_found || jsonb_build_object('frames_asked', v_found->'frames', 'frames', ((v_found->>'frames')::integer - 1) / 4 * 4 + 1);
  end if;
  return v_found;
end
$$;

-- One side of a size like "480*832".
create or replace function ourvidz.wire_side(p_size jsonb, p_place integer) returns jsonb
language plpgsql immutable
as $$
begin
  if coalesce(jsonb_typeof(p_size) <> 'string' or p_size #>> '{}' !~ '^[0-9]{1,5}[*][0-9]{1,5}$', true) then
    raise exception 'size must be written like 480*832.' using errcode = 'OV009', column = 'size';
  end if;
  return to_jsonb(split_part(p_size #>> '{}', '*', p_place)::integer);
end
$$;

-- Said on the wire, and decided by the job type or read elsewhere (state/wire.py: IGNORED).
create or replace function ourvidz.wire_ignored() returns text[]
language sql immutable parallel safe
as $$ select '{expected_time,content_type,file_extension,enhance_prompt,prompt,user_prompt,compel_enabled,compel_weights}'::text[] $$;
