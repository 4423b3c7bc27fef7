-- Tries our writes on the copy. If a CHECK or NOT NULL of a column of ours refuses one, plans to drop it or to set a default; any other
-- failure refuses the migration.
create or replace function pg_temp.write_trial(w our_writes) returns void language plpgsql as $$
declare
  v_columns constant text := (select string_agg(quote_ident(k), ', ') from jsonb_object_keys(w.change) as k
                              where exists (select from pg_attribute where attrelid = 'pg_temp.trial'::regclass and attname = k and not attisdropped));
  v_values constant text := format('select %s from jsonb_populate_record(null::pg_temp.trial, $1)', v_columns);
  v_rows bigint;
  v_kept boolean;
begin
  if w.verb = 'delete' then
    delete from pg_temp.trial;
  elsif w.verb = 'update' then
    execute format('update pg_temp.trial set (%s) = (%s)', v_columns, v_values) using w.change;
  else
    execute format('insert into pg_temp.trial (%s) %s', v_columns, v_values) using w.change;
  end if;
  get diagnostics v_rows = row_count;
  if v_rows = 0 then
    raise exception 'the row is not written';
  elsif w.verb <> 'delete' then
    execute format('select bool_and(to_jsonb(t) @> to_jsonb(v)) from pg_temp.trial as t, (%s) as v', v_values) into v_kept using w.change;
    if not v_kept then
      raise exception 'what is written is changed';
    end if;
  end if;
end
$$;

create or replace function pg_temp.try_sample(
  p_relation text, p_sample text, out state text, out message text, out culprit text, out lacking text, out verb text)
language plpgsql as $$
declare
  w our_writes;
begin
  for w in select * from our_writes where relation = p_relation and sample = p_sample order by n loop
    verb := w.verb;
    message := case when w.verb = 'delete' then 'delete' else format('%s %s', w.verb, w.change) end;
    perform pg_temp.write_trial(w);
  end loop;
  raise exception using errcode = 'OV000';
exception when sqlstate 'OV000' then
  message := null;  -- all succeeded, and are undone
when others then
  get stacked diagnostics state = returned_sqlstate, culprit = constraint_name, lacking = column_name;
  message := case when state in ('23514', '23502') then message else format('%s (%s)', sqlerrm, message) end;
end
$$;

create or replace function pg_temp.plan_writes(p_relation text) returns void language plpgsql as $$
declare
  v_sample text;
  t record;
begin
  for v_sample in select sample from our_writes where relation = p_relation group by sample order by min(n) loop
    loop
      t := pg_temp.try_sample(p_relation, v_sample);
      exit when t.state is null;
      if t.verb = 'row' and t.state in ('23514', '23502') then  -- not our write: only the copy must accept it
        execute 'alter table pg_temp.trial ' || case t.state when '23514' then format('drop constraint %I', t.culprit)
                                                             else format('alter column %I drop not null', t.lacking) end;
      elsif t.state = '23514' and exists (select from pg_constraint where conrelid = 'pg_temp.trial'::regclass and conname = t.culprit) then
        perform pg_temp.alter_table(3, p_relation, 'constraint ' || t.culprit, 'dropped: it refuses ' || t.message, format('drop constraint %I', t.culprit));
      elsif t.state = '23502' and exists (select from wanted_columns where relation = p_relation and name = t.lacking and initial is not null) then
        perform pg_temp.alter_table(4, p_relation, 'default of column ' || t.lacking, 'set: this program makes rows without it',
          (select format('alter column %I set default %s', name, initial) from wanted_columns where relation = p_relation and name = t.lacking));
      elsif t.state = '23502' and exists (select from wanted_columns where relation = p_relation and name = t.lacking) then
        perform pg_temp.alter_table(4, p_relation, 'column ' || t.lacking, 'may be null: ' || t.message, format('alter column %I drop not null', t.lacking));
      elsif t.state = '23502' then
        perform pg_temp.refuse(format('column %s of public.%s', t.lacking, p_relation), 'this program makes rows without it, and it may not be null',
          format('alter table public.%I alter column %I set default …, or drop not null', p_relation, t.lacking));
        execute format('alter table pg_temp.trial alter column %I drop not null', t.lacking);
      else
        perform pg_temp.refuse('table public.' || p_relation, 'what this program writes is refused: ' || t.message,
          format('let public.%I take that write, then migrate', p_relation));
        exit;
      end if;
    end loop;
  end loop;
end
$$;
