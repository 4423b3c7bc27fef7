-- Counts each owner's rows and their bytes after an insert, update or delete. The counter stays locked until the transaction ends, so that
-- concurrent requests cannot exceed ourvidz.row_bounds. An owner without a counter is counted once, by the index on their rows. Trigger
-- arguments, where not all rows count: a condition, and the column that orders rows by age. Writes by our own triggers are counted but not
-- refused: a job must be able to end.
create or replace function ourvidz.count_rows() returns trigger
language plpgsql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
declare
  v_table constant text := format('%I.%I', tg_table_schema, tg_table_name);
  v_condition constant text := coalesce(tg_argv[0], 'true');
  v_sum constant text := 'select %I as owner, %s as rows, %s * pg_column_size(to_jsonb(c)) as bytes from %s as c where ' || v_condition;
  b ourvidz.row_bounds;
  v_change record;
  c ourvidz.row_counts;
begin
  select * into b from ourvidz.row_bounds where name = tg_table_name;
  for v_change in
    execute 'select owner, sum(rows)::bigint as rows, sum(bytes)::bigint as bytes from ('
            || case tg_op when 'INSERT' then format(v_sum, b.owner, 1, 1, 'changed') when 'DELETE' then format(v_sum, b.owner, -1, -1, 'changed')
                    else format(v_sum, b.owner, 0, 1, 'changed') || ' union all ' || format(v_sum, b.owner, 0, -1, 'gone') end
            || ') as each where owner is not null group by owner order by owner'
  loop
    update ourvidz.row_counts as k set rows = greatest(k.rows + v_change.rows, 0), bytes = greatest(k.bytes + v_change.bytes, 0)
    where k.name = b.name and k.owner = v_change.owner returning * into c;
    if not found then
      execute format('select $1, $2, count(*), coalesce(sum(bytes), 0) from ('
                     'select pg_column_size(t.*) as bytes from %s as t where %I = $2 and %s limit $3) as theirs', v_table, b.owner, v_condition)
      into c using b.name, v_change.owner, b.rows + 1;
      insert into ourvidz.row_counts as k (name, owner, rows, bytes)
      values (c.name, c.owner, c.rows, greatest(c.bytes, v_change.bytes))  -- values stored out of line count as little there
      on conflict (name, owner) do update
        set rows = greatest(k.rows + v_change.rows, 0), bytes = greatest(k.bytes + v_change.bytes, 0) returning * into c;
    end if;
    if tg_op = 'DELETE' then
      delete from ourvidz.row_counts where name = b.name and owner = v_change.owner and rows = 0;
    elsif b.over = 'oldest' and c.rows > b.rows then
      execute format('delete from %1$s where ctid = any (array(select ctid from %1$s where %2$I = $1 and %3$s order by %4$I limit $2))',
                     v_table, b.owner, v_condition, tg_argv[1]) using v_change.owner, c.rows - b.rows;
      update ourvidz.row_counts as k set rows = b.rows where k.name = b.name and k.owner = v_change.owner;
    elsif b.over = 'refuse' and (c.rows > b.rows or c.bytes > b.bytes) and pg_trigger_depth() = 1 then
      perform ourvidz.rpc('too_many_rows', jsonb_build_object('table', b.name, 'rows', b.rows, 'bytes', b.bytes));
    end if;
  end loop;
  return null;
end
$$;

create or replace function ourvidz.api_too_many_rows(p jsonb) returns jsonb
language plpgsql
as $$
begin
  raise exception '% may have at most % rows of one owner, with % bytes together.', p->>'table', p->'rows', coalesce(p->>'bytes', 'any number of')
    using errcode = 'OV041', column = p->>'table', hint = 'Delete some first.';
end
$$;
