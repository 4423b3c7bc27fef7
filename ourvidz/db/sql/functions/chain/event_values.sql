-- Format an instant and a number as events store them: the same text in every session, whatever TimeZone and extra_float_digits are set to.
create or replace function ourvidz.utc_text(p timestamptz) returns text
language sql stable parallel safe
as $$ select case when isfinite(p) then to_jsonb(p at time zone 'UTC') #>> '{}' || '+00:00' else p::text end $$;

create or replace function ourvidz.json_number(p float8) returns jsonb
language plpgsql immutable parallel safe set extra_float_digits = 1
as $$
begin
  return to_jsonb(p);
end
$$;
