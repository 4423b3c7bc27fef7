-- The one clock. Tests replace this function (never a setting, which any session could change). Volatile, as clock_timestamp is, so that
-- it is inlined; queries compare with a variable that holds it, so that they can use an index.
create or replace function ourvidz.now() returns timestamptz
language sql volatile parallel safe
as $$ select clock_timestamp() $$;
