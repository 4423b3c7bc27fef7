-- Executes the plan's steps on existing objects. If anything is refused, does nothing.
do $$
declare
  s record;
  v_refused constant text := (select string_agg(format('- %s: %s. Remedy: %s', object, refused, remedy), E'\n' order by n) from plan where refused is not null);
begin
  if v_refused is not null then
    raise exception E'This database cannot be migrated as it is. Nothing was changed.\n%', v_refused using errcode = '55000';
  end if;
  for s in select * from plan where phase < 8 and statement is not null order by phase, n loop
    execute s.statement;
  end loop;
end
$$;
