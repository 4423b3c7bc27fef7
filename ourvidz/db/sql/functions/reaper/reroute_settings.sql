-- Returns a job's settings for its type's fallback: chosen values if the fallback knows them, else the fallback's own; of the fallback's
-- sizes the nearest in shape, the first on a tie.
create or replace function ourvidz.reroute_settings(p_kind ourvidz.job_types, p_fallback ourvidz.job_types, p_settings jsonb) returns jsonb
language sql stable
as $$
  select p_fallback.defaults
    || coalesce((select jsonb_object_agg(key, value) from jsonb_each(p_settings)
                 where key in ('steps', 'guidance', 'seed', 'reference_fallback', 'on_enhance_failure')
                   and value is distinct from p_kind.defaults->key), '{}')
    || (select jsonb_build_object('width', size->0, 'height', size->1)
        from jsonb_array_elements(p_fallback.limits->'size'->'in') with ordinality as allowed (size, n)
        order by round(abs(ln((size->>0)::numeric / (size->>1)::numeric)
                           - ln((p_settings->>'width')::numeric / (p_settings->>'height')::numeric)), 6), n
        limit 1)
$$;
