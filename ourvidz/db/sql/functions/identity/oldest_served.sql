-- Returns the oldest release of the program (sql/release.json) that this schema serves: an older one refuses to start and says why; all
-- others keep working while machines are upgraded one by one. When a function, column or meaning that older programs use is removed, raise
-- it to the first release that does not use that. 88: functions that executors and edge functions call were renamed.
create or replace function ourvidz.oldest_served() returns integer
language sql immutable parallel safe
as $$ select 88 $$;
