-- Refuses settings outside a job type's limits, whoever writes: {"steps": [1, 60]} is a range, {"images": {"in": [1, 3, 6]}} a list,
-- {"in": []} a setting that the type does not have. A whole number is written as one: Python reads 25.0 as no integer.
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
      raise exception 'A % takes no %.', p_job_type, v_field using errcode = 'OV009', column = v_field;
    elsif jsonb_typeof(v_limit) = 'object' then
      continue when v_limit->'in' @> jsonb_build_array(v_value) and (jsonb_typeof(v_value) = 'string' or strpos(v_value::text, '.') = 0);
    elsif jsonb_typeof(v_value) = 'number' then
      continue when v_value::numeric between (v_limit->>0)::numeric and (v_limit->>1)::numeric
                and (jsonb_array_length(v_limit) = 2 or scale(v_value::numeric) = 0);
    end if;
    raise exception '% of a % must be within %; it is not.', v_field, p_job_type, coalesce(v_limit->>'in', v_limit::text)
      using errcode = 'OV009', column = v_field;
  end loop;
  if (p_settings->>'steps')::float8 * (p_settings->>'strength')::float8 < 1 then
    raise exception 'steps times strength of a % must be at least 1, or nothing would be drawn.', p_job_type using errcode = 'OV009', column = 'steps';
  end if;
end
$$;
