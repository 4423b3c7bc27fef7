-- Executors, as whoever watches may see them: by the names that operators gave, with host and gauges; an analyst, who reads no text, sees what
-- events call them, and neither.
create or replace view ourvidz.fleet as
select id, case when sees.all then name else called end as name, case when sees.all then host end as host, pid, lanes, resident, state,
       waiting, lane, lane_since, started_at, beat_at, lease_until, case when sees.all then info else '{}' end as info,
       reference_pictures
from ourvidz.executors cross join (select has_column_privilege('ourvidz.executors', 'info', 'select') as all) as sees;
