-- Returns the settings that each request chose itself, and what was set aside: [{"field", "reason"}], by the request's own names. config
-- wins over metadata, settings (our own callers') over config, a later name over an earlier one. Values pass unchanged.
create or replace function ourvidz.read_settings(p_requests ourvidz.request[])
returns table (ord bigint, chosen jsonb, aside jsonb)
language sql stable
as $$
  with kept as materialized (
    select * from ourvidz.read_names(p_requests)
  ), winners as (
    select distinct on (k.ord, k.setting) k.* from kept as k
    where k.reason is null and k.setting like 'references.%' order by k.ord, k.setting, k.layer desc, k.rank desc
  ), pictures as materialized (
    -- If only the browser can name several uploads, the last slot has the newest.
    select w.ord, w.name, split_part(w.setting, '.', 2) as slot,
           ourvidz.read_reference(w.user_id, w.value, (
             select count(distinct o.value) from winners as o
             where o.ord = w.ord and o.setting > w.setting and o.value <> w.value and o.value #>> '{}' like 'blob:%')) as address
    from winners as w
  ), plain as (
    select k.ord, k.setting, k.value, k.layer, k.rank from kept as k
    where k.reason is null and k.setting not like 'references.%' and k.setting <> 'size'
    union all
    -- Ranked below its own layer's names: an explicit width wins over the size's.
    select k.ord, side.setting, ourvidz.wire_side(k.value, side.place), k.layer, -1
    from kept as k cross join (values ('width', 1), ('height', 2)) as side (setting, place) where k.reason is null and k.setting = 'size'
  ), settings as (
    select p.ord, jsonb_object_agg(p.setting, p.value order by p.layer, p.rank) as found from plain as p group by p.ord
  ), references_ as (
    select p.ord, jsonb_object_agg(p.slot, p.address) filter (where p.address is not null) as found from pictures as p group by p.ord
  ), asides as (
    select a.ord, jsonb_agg(distinct jsonb_build_object('field', left(replace(a.name, 'references.', ''), 40), 'reason', a.reason)) as found
    from (select k.ord, k.name, k.reason from kept as k where k.reason is not null
          union all select p.ord, p.name, 'upload_not_found' from pictures as p where p.address is null
          union all select s.ord, 'compel_weights', 'not_enabled' from settings as s
                    where s.found ? 'compel_weights' and s.found->'compel_enabled' is distinct from 'true'
          union all select r.ord, 'job_type', 'older_name' from unnest(p_requests) as r where r.asked_type is not null) as a
    group by a.ord
  )
  select r.ord,
         coalesce(ourvidz.read_frames(s.found) - case when s.found->'compel_enabled' = 'true' then '{}' else '{compel_weights}' end::text[], '{}')
           || case when f.found is null then '{}' else jsonb_build_object('references', f.found) end,
         a.found
  from unnest(p_requests) as r
  left join settings as s on s.ord = r.ord left join references_ as f on f.ord = r.ord left join asides as a on a.ord = r.ord
$$;
