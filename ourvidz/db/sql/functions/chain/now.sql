-- Returns the time, for all functions. Tests replace this function (never a setting, which any session could change). Volatile, like
-- clock_timestamp, so that it is inlined; queries compare with a variable that holds it, so that they can use an index.
create or replace function ourvidz.now() returns timestamptz
language sql volatile parallel safe
as $$ select clock_timestamp() $$;
