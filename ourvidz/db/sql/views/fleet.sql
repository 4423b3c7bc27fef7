-- Shows executors to those who watch: by the operators' names, with host and gauges. An analyst, who reads no text, sees the names that
-- events use, and neither host nor gauges.
create or replace view ourvidz.fleet as
select id, case when sees.all then name else called end as name, case when sees.all then host end as host, pid, lanes, resident, state,
       waiting, lane, lane_since, started_at, beat_at, lease_until, case when sees.all then info else '{}' end as info,
       reference_pictures
from ourvidz.executors cross join (select has_column_privilege('ourvidz.executors', 'info', 'select') as all) as sees;
