-- The oldest release of the program (sql/release.json) that this schema serves: one that is older refuses to start and says so, every other
-- goes on working while machines are upgraded one by one. Raise it to the first release that does without, whenever a function, column or
-- meaning goes that programs before that release use. 60: before, executors know schedulers by diffusers' names alone, and fail jobs that name one.
create or replace function ourvidz.oldest_served() returns integer
language sql immutable parallel safe
as $$ select 60 $$;
