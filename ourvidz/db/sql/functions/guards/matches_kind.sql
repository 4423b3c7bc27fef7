-- Returns whether a value is of a kind (state/kinds.py lists the kinds). null is of every kind.
create or replace function ourvidz.matches_kind(p_value jsonb, p_kind jsonb) returns boolean
language sql immutable parallel safe
as $$
  select case jsonb_typeof(p_value)
    when 'array' then p_kind ? 'items' and not exists (
      select from jsonb_array_elements(p_value) as item where not ourvidz.scalar_matches_kind(item, p_kind->'items'))
    when 'object' then p_kind ? 'each' and not exists (
      select from jsonb_each(p_value) as part
      where not exists (select from jsonb_array_elements(p_kind->'each') as kind where ourvidz.scalar_matches_kind(part.value, kind)))
    else ourvidz.scalar_matches_kind(p_value, p_kind) end
$$;

-- The same for a value without parts. Kept inlinable.
create or replace function ourvidz.scalar_matches_kind(p_value jsonb, p_kind jsonb) returns boolean
language sql immutable parallel safe
as $$
  select coalesce(case
    when p_value is null or p_value = 'null' then true
    when jsonb_typeof(p_value) in ('array', 'object') then false
    when p_kind ? 'in' then p_kind->'in' @> p_value
    when p_kind ? 'match' then jsonb_typeof(p_value) = 'string' and p_value #>> '{}' ~ (p_kind->>'match')
    else jsonb_typeof(p_value) = p_kind->>'type' end, false)
$$;

-- Returns the keys of an event's data that are not allowed or whose values are of another kind. Names only: the values could be anything.
create or replace function ourvidz.invalid_keys(p_type text, p_data jsonb) returns text[]
language sql stable parallel safe
as $$
  select array(
    select d.key from ourvidz.event_types as e cross join lateral jsonb_each(p_data) as d
    where e.name = p_type and not (e.kinds ? d.key and ourvidz.matches_kind(d.value, e.kinds->d.key)) order by d.key)
$$;
