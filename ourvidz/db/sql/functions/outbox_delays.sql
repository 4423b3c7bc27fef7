-- Seconds to wait after each try that failed; after the one more, the message is dead: ten tries in a little under a day.
create or replace function ourvidz.outbox_delays() returns double precision[]
language sql immutable parallel safe
as $$ select '{5,30,120,600,1800,3600,10800,21600,43200}'::double precision[] $$;
