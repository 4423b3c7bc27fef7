-- Rounds frames down to 4k+1, which Wan makes: a requested 83 becomes 81, and both are recorded. Other values are left to check_settings.
create or replace function ourvidz.read_frames(p jsonb) returns jsonb
language sql immutable
as $$
  select case when jsonb_typeof(p->'frames') = 'number' and scale((p->>'frames')::numeric) = 0 and (p->>'frames')::numeric between 1 and 161
              then p || jsonb_build_object('frames_asked', p->'frames', 'frames', ((p->>'frames')::integer - 1) / 4 * 4 + 1) else p end
$$;

-- Returns one side of a size like "480*832".
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
