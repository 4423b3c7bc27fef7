-- Refuses a value of a text column that is not of the kind in ourvidz.column_kinds, whoever writes it. Names the column, not the value.
create or replace function ourvidz.check_column_kinds() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_relation constant text := format('%s.%s', tg_table_schema, tg_table_name);
  v_row constant jsonb := to_jsonb(new);
  v_wrong constant text[] := array(
    select split_part(c.name, '.', 3) from ourvidz.column_kinds as c
    where starts_with(c.name, v_relation || '.') and not ourvidz.matches_kind(v_row->split_part(c.name, '.', 3), c.kind) order by c.name);
begin
  if v_wrong <> '{}' then
    raise exception '% may not hold what came in %: it takes a value of a list, or an id of a fixed form.', v_relation,
      array_to_string(v_wrong, ', ')
      using errcode = 'OV009', column = v_wrong[1], hint = 'ourvidz.column_kinds says what each column takes.';
  end if;
  return new;
end
$$;
