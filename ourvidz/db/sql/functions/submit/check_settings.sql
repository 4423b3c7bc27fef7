-- Refuses settings outside a job type's limits, whoever writes them: {"steps": [1, 60]} is a range, {"images": {"in": [1, 3, 6]}} a list,
-- {"in": []} a setting that the type does not have. An integer must be written without a fraction: Python does not read 25.0 as one.
create or replace function ourvidz.check_settings(p_job_type text, p_settings jsonb, p_limits jsonb) returns void
language plpgsql immutable
as $$
declare
  v_field text;
  v_limit jsonb;
  v_value jsonb;
begin
  for v_field, v_limit in select * from jsonb_each(p_limits) loop
    v_value := case when v_field = 'size' then jsonb_build_array(p_settings->'width', p_settings->'height') else p_settings->v_field end;
    if v_value is null then
      continue;
    elsif v_limit = '{"in": []}' then
      raise exception 'A % takes no %.', p_job_type, v_field
        using errcode = 'OV009', column = v_field, hint = 'ourvidz.job_types.limits says what each type takes.';
    elsif jsonb_typeof(v_limit) = 'object' then
      v_value := ourvidz.canonical_sampler(v_limit, v_value);  -- jobs that were queued under an older release keep the name as it was sent
      continue when v_limit->'in' @> jsonb_build_array(v_value) and (jsonb_typeof(v_value) = 'string' or strpos(v_value::text, '.') = 0);
    elsif jsonb_typeof(v_value) = 'number' then
      continue when v_value::numeric between (v_limit->>0)::numeric and (v_limit->>1)::numeric
                and (jsonb_array_length(v_limit) = 2 or scale(v_value::numeric) = 0);
    end if;
    raise exception '% must be % for a %; what came is not.', v_field, ourvidz.limit_said(v_limit), p_job_type
      using errcode = 'OV009', column = v_field;
  end loop;
  if (p_settings->>'steps')::float8 * (p_settings->>'strength')::float8 < 1 then
    raise exception 'steps times strength of a % must be at least 1, or nothing would be drawn.', p_job_type using errcode = 'OV009', column = 'steps';
  end if;
end
$$;

-- Formats a limit in words: "a whole number from 1 to 60", "one of 1, 3, 6", "one of 480×832, 832×480".
create or replace function ourvidz.limit_said(p jsonb) returns text
language sql immutable
as $$
  select case when jsonb_typeof(p) = 'array' then
    format('a %s from %s to %s', case jsonb_array_length(p) when 3 then 'whole number' else 'number' end, (p->>0)::float8, (p->>1)::float8)
  else 'one of ' || (select string_agg(case jsonb_typeof(one) when 'array' then format('%s×%s', one->>0, one->>1) else one #>> '{}' end, ', ')
                     from jsonb_array_elements(p->'in') as one) end
$$;
