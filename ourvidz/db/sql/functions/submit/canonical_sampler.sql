-- Returns our name for a sender's scheduler or sampler: spelling does not matter, and other programs have names of their own
-- (state/schedulers.py; {"in": [...], "same": {key: name}} in a type's limits). An unknown name passes unchanged, for check_settings.
create or replace function ourvidz.canonical_sampler(p_limit jsonb, p_value jsonb) returns jsonb
language sql immutable
as $$
  select coalesce(case when jsonb_typeof(p_value) = 'string' then p_limit->'same'->ourvidz.scheduler_key(p_value #>> '{}') end, p_value)
$$;

-- Drops from a name what spelling may change: case, spaces, dashes, and + for p. Same as state.schedulers.key.
create or replace function ourvidz.scheduler_key(p_name text) returns text
language sql immutable
as $$
  select regexp_replace(replace(lower(left(p_name, 100)), '+', 'p'), '[^a-z0-9]', '', 'g')
$$;

-- Joins the sampler and the noise schedule that ComfyUI and A1111 may send apart: {"sampler_name": "dpmpp_2m", "scheduler": "karras"}. Null
-- unless the request has both.
create or replace function ourvidz.sampler_with_schedule(p_limit jsonb, p_said jsonb) returns jsonb
language sql immutable
as $$
  select case when jsonb_typeof(p_said->'sampler_name') = 'string' and jsonb_typeof(p_said->'scheduler') = 'string'
    then to_jsonb(trim(left(p_said->>'sampler_name', 100) || ' ' || (p_limit->'noise'->>ourvidz.scheduler_key(p_said->>'scheduler')))) end
$$;
