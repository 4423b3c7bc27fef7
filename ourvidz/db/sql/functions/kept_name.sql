-- The name that is kept of what a sender calls a scheduler or sampler: spelling does not count, and other programs have names of their own
-- (state/schedulers.py; {"in": [...], "same": {key: name}} among a type's limits). What is not known passes as it came, for check_settings.
create or replace function ourvidz.kept_name(p_limit jsonb, p_value jsonb) returns jsonb
language sql immutable
as $$
  select coalesce(case when jsonb_typeof(p_value) = 'string' then p_limit->'same'->ourvidz.scheduler_key(p_value #>> '{}') end, p_value)
$$;

-- A name without what spelling may change: case, spaces, dashes, and + for p. As state.schedulers.key works it out.
create or replace function ourvidz.scheduler_key(p_name text) returns text
language sql immutable
as $$
  select regexp_replace(replace(lower(left(p_name, 100)), '+', 'p'), '[^a-z0-9]', '', 'g')
$$;

-- ComfyUI and A1111 may name the spacing of the noise levels beside the sampler: {"sampler_name": "dpmpp_2m", "scheduler": "karras"}. Both as
-- one name; null where the request says nothing of the kind.
create or replace function ourvidz.spaced_name(p_limit jsonb, p_said jsonb) returns jsonb
language sql immutable
as $$
  select case when jsonb_typeof(p_said->'sampler_name') = 'string' and jsonb_typeof(p_said->'scheduler') = 'string'
    then to_jsonb(trim(left(p_said->>'sampler_name', 100) || ' ' || (p_limit->'noise'->>ourvidz.scheduler_key(p_said->>'scheduler')))) end
$$;
