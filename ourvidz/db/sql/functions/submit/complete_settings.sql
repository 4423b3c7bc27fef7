-- Returns a job's complete settings: requested values, else the type's defaults; with a reference also the settings that belong to it.
-- Checks nothing: check_settings does.
create or replace function ourvidz.complete_settings(p_kind ourvidz.job_types, p_asked jsonb) returns jsonb
language sql stable
as $$
  select jsonb_strip_nulls(
    case when refers.style then '{"reference_type": "style"}'::jsonb else '{}' end
    -- 1.0 is VACE's default and right for an approved first frame; with IP-Adapter it would override the prompt.
    || case when refers.any then jsonb_build_object('reference_strength', case p_kind.family when 'wan' then 1.0 else 0.7 end) else '{}' end
    || p_kind.defaults || asked.settings)
    - case when refers.style or p_kind.family = 'wan' then '{}'::text[] else '{reference_type}' end
    - case when refers.any then '{}'::text[] else '{reference_strength}' end
  from (select coalesce(jsonb_strip_nulls(p_asked), '{}') as settings) as asked
  cross join lateral (
    select case jsonb_typeof(asked.settings->'references') when 'object' then asked.settings->'references' else '{}' end as slots
  ) as given
  cross join lateral (select given.slots ? 'style' as style, given.slots - 'init' <> '{}' as any) as refers
$$;
