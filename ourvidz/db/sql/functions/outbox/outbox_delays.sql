-- Returns the seconds to wait after each failed try. One more failure, and the message is dead: ten tries in a little under a day.
create or replace function ourvidz.outbox_delays() returns double precision[]
language sql immutable parallel safe
as $$ select '{5,30,120,600,1800,3600,10800,21600,43200}'::double precision[] $$;
