-- Limits the bytes that one API request may write, so that it cannot fill the disk: a PATCH writes its body once per row.
create or replace function ourvidz.check_written(p_bytes bigint) returns void
language plpgsql
as $$
declare
  v_most constant bigint := (select write_bytes from ourvidz.limits);
  v_written constant bigint := coalesce(nullif(current_setting('ourvidz.written', true), '')::bigint, 0) + p_bytes;
begin
  if (ourvidz.caller()).role is null then
    return;
  elsif v_written > v_most then
    perform ourvidz.rpc('wrote_too_much', jsonb_build_object('most', v_most));
  end if;
  perform set_config('ourvidz.written', v_written::text, true);
end
$$;

create or replace function ourvidz.api_wrote_too_much(p jsonb) returns jsonb
language plpgsql
as $$
begin
  raise exception 'One request may write at most % bytes.', p->>'most' using errcode = 'OV040', hint = 'Send several, with fewer rows each.';
end
$$;

-- Before a row written by others than our functions, first of all triggers (tests/security/test_bounds.py): bounds what it changes.
create or replace function ourvidz.bound_row() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_row jsonb := to_jsonb(new);
begin
  if tg_op = 'UPDATE' then
    select coalesce(jsonb_object_agg(n.key, n.value), '{}') into v_row
    from jsonb_each(v_row) as n join jsonb_each(to_jsonb(old)) as o using (key) where n.value <> o.value;
  end if;
  perform ourvidz.rpc('bound_row', v_row);
  perform ourvidz.check_written(pg_column_size(v_row) + 100);
  return new;
end
$$;

-- Does nothing: ourvidz.rpc has already bounded the row.
create or replace function ourvidz.api_bound_row(p jsonb) returns jsonb
language sql immutable
as $$ select null::jsonb $$;
