-- Returns every name of a request that may be a setting, its meaning for the job type (ourvidz.wire_names), and why it is set aside
-- (ourvidz.set_aside_rules; null: it counts). Layers: 1 metadata, where only known names are looked at, because it is free-form; 2 config;
-- 3 settings. A null counts as not given.
create or replace function ourvidz.read_names(p_requests ourvidz.request[])
returns table (ord bigint, user_id uuid, layer integer, rank integer, name text, setting text, value jsonb, reason text)
language sql stable
as $$
  with said as (
    select r.ord, r.user_id, r.job_type, k.family, l.layer, each.key as name,
           case when each.key = 'sampler_name' then coalesce(spaced.name, each.value) else each.value end as value,
           -- The one picture that a legacy sender gives to an img2img job is its init image.
           k.init_image and each.key in ('reference_url', 'reference_image_url', 'image') and not l.said ?| '{init_image,init_image_url}' as starts
    from unnest(p_requests) as r
    join ourvidz.job_types as k on k.name = r.job_type
    cross join lateral (values (1, r.metadata), (2, r.config), (3, r.settings - 'references')) as l (layer, said)
    cross join lateral (select case when l.said ? 'sampler_name' then ourvidz.sampler_with_schedule(k.limits->'scheduler', l.said) end) as spaced (name)
    cross join lateral jsonb_each(l.said) as each
    where l.said <> '{}' and each.value <> 'null' and (each.key <> 'scheduler' or spaced.name is null)
    union all
    select r.ord, r.user_id, r.job_type, k.family, 3, 'references.' || each.key, each.value, false
    from unnest(p_requests) as r
    join ourvidz.job_types as k on k.name = r.job_type
    cross join lateral jsonb_each(r.settings->'references') as each
    where r.settings ? 'references' and each.value <> 'null'
  ), meant as materialized (
    select s.ord, s.user_id, s.job_type, s.layer, w.n as rank, s.name,
           case when w.setting in ('scheduler', 'sampler')
             then ourvidz.canonical_sampler((select k.limits->w.setting from ourvidz.job_types as k where k.name = s.job_type), s.value)
             else s.value end as value,
           case when s.starts then 'references.init' else coalesce(w.setting, 'unknown') end as setting
    from said as s left join ourvidz.wire_names as w on w.name = s.name and w.family = s.family
    where case s.layer when 1 then w.setting not in ('ignored', 'task') else w.setting is distinct from 'ignored' end
  ), present as (
    select m.ord, array_agg(m.name) || array_agg(m.setting) as names from meant as m group by m.ord
  )
  select m.ord, m.user_id, m.layer, m.rank, m.name, m.setting, m.value,
         case when m.setting in ('unknown', 'other_family') then m.setting
              when (rule.names = '{}' or m.name = any (rule.names))
               and (rule.only_values is null or rule.only_values @> jsonb_build_array(m.value))
               and (rule.beside = '{}' or rule.beside && present.names)
               and (rule.without = '{}' or not rule.without && present.names) then rule.reason end
  from meant as m
  join present on present.ord = m.ord
  left join ourvidz.set_aside_rules as rule on rule.job_type = m.job_type and rule.setting = m.setting
$$;
