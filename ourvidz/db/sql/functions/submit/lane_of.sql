-- Returns a job's lane: the models that it needs (state/catalog.py: lane_of).
create or replace function ourvidz.lane_of(p_family text, p_settings jsonb) returns text
language sql immutable parallel safe
as $$
  select case
    when p_family = 'sdxl' then case when p_settings->'references' ? 'style' then 'sdxl_ip' else 'sdxl' end
    when coalesce(p_settings->'references', '{}') <> '{}' then p_family || '_vace'
    else p_family end
$$;
