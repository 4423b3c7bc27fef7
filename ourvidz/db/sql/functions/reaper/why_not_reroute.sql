-- Returns why a job cannot be made by its type's fallback, in words; null if it can.
create or replace function ourvidz.why_not_reroute(p_job uuid, p_type text, p_settings jsonb) returns text
language sql stable
as $$
  select case
    when fallback.name is null then format('a %s has no fallback', p_type)
    when coalesce(p_settings->'references', '{}') <> '{}' then format('it has reference pictures, which mean something else to a %s', fallback.name)
    when not fallback.limits->'images'->'in' @> jsonb_build_array(p_settings->'images')
      then format('it is a batch of %s, and a %s makes one image a job', p_settings->>'images', fallback.name)
    when exists (select from public.artifacts where job_id = p_job) then 'it has outputs of an earlier attempt, which the next one goes on with'
  end
  from (select p_type) as one (type)
  left join ourvidz.job_types as kind on kind.name = one.type
  left join ourvidz.job_types as fallback on fallback.name = kind.fallback
$$;
