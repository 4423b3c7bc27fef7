-- Returns the price in tokens of a job of this type with these settings: per image, or per video. Null if there is no such type.
create or replace function ourvidz.price_of(p_type text, p_settings jsonb) returns bigint
language sql stable
as $$ select price::bigint * coalesce((p_settings->>'images')::bigint, 1) from ourvidz.job_types where name = p_type $$;
