-- Returns how far behind the front a priority enters, in turns of one user (state/policy.py: head_start).
create or replace function ourvidz.priority_offset(priority integer) returns float8
language sql immutable parallel safe
as $$ select (7 - priority) * 0.1::float8 $$;
