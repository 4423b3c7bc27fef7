-- Plans the changes of an existing table's columns.
create or replace function pg_temp.plan_columns(p_relation text) returns void language plpgsql as $$
declare
  w wanted_columns;
  a record;
begin
  for w in select * from wanted_columns where relation = p_relation order by n loop
    select att.attnum, att.attnotnull, att.attgenerated, format_type(att.atttypid, null) as type, att.atttypmod, t.typtype,
           pg_get_expr(d.adbin, d.adrelid) as preset, to_regtype(w.type) = att.atttypid as same
    into a
    from pg_attribute as att join pg_type as t on t.oid = att.atttypid
    left join pg_attrdef as d on d.adrelid = att.attrelid and d.adnum = att.attnum
    where att.attrelid = to_regclass('public.' || p_relation) and att.attname = w.name and not att.attisdropped;
    if not found then
      perform pg_temp.plan_new_column(w);
    elsif a.attgenerated <> '' then
      perform pg_temp.refuse(format('column %s of public.%s', w.name, p_relation), 'it is generated, and this program writes it',
                             format('alter table public.%I alter column %I drop expression', p_relation, w.name));
      perform pg_temp.as_wanted(w);
    elsif pg_temp.plan_type(w, a.type, a.typtype::text, a.atttypmod, coalesce(a.same, false), a.preset, a.attnum) then
      perform pg_temp.plan_default(w);
      perform pg_temp.plan_nulls(w, a.attnotnull);
    end if;
  end loop;
end
$$;

create or replace function pg_temp.plan_new_column(w wanted_columns) returns void language plpgsql as $$
declare
  v_default constant text := coalesce(nullif(w.preset, 'none'), w.initial, w.fill);
begin
  if (w.more ~ 'not null' and v_default is null or w.more ~ 'primary key') and pg_temp.has_rows(w.relation) then
    perform pg_temp.refuse(format('column %s of public.%s', w.name, w.relation), 'it is missing, and the rows there need a value that nobody but you knows',
      format('alter table public.%I add column %I %s; then fill it for each row', w.relation, w.name, w.type));
    perform pg_temp.as_wanted(w);
  else
    execute format('alter table pg_temp.trial add column %I %s', w.name, w.type);
    perform pg_temp.step(4, format('column %s of public.%s', w.name, w.relation), 'added',
      format('alter table public.%I add column %I %s', w.relation, w.name, w.type || coalesce(' default ' || v_default, '')
             || case when w.fill is not null and coalesce(w.more, '') !~ 'not null' then ' not null' else '' end || coalesce(' ' || w.more, '')));
  end if;
end
$$;

-- Returns the column's current default on the copy: a change of type may have dropped it.
create or replace function pg_temp.trial_default(p_column text) returns text language sql as $$
  select pg_get_expr(d.adbin, d.adrelid)
  from pg_attrdef as d join pg_attribute as t on t.attrelid = d.adrelid and t.attnum = d.adnum
  where d.adrelid = to_regclass('pg_temp.trial') and t.attname = p_column
$$;

create or replace function pg_temp.plan_default(w wanted_columns) returns void language plpgsql as $$
declare
  v_found constant text := pg_temp.trial_default(w.name);
begin
  if w.preset = 'none' and v_found is not null then
    perform pg_temp.alter_table(4, w.relation, 'default of column ' || w.name, 'dropped: it was ' || v_found, format('alter column %I drop default', w.name));
  elsif w.preset <> 'none' then
    execute format('alter table pg_temp.trial alter column %I set default %s', w.name, w.preset);
    if v_found is distinct from pg_temp.trial_default(w.name) then
      perform pg_temp.step(4, format('default of column %s of public.%s', w.name, w.relation), coalesce('changed: it was ' || v_found, 'set'),
        format('alter table public.%I alter column %I set default %s', w.relation, w.name, w.preset));
    end if;
  end if;
end
$$;

create or replace function pg_temp.plan_nulls(w wanted_columns, p_not_null boolean) returns void language plpgsql as $$
declare
  v_nulls bigint;
begin
  if w.fill is null or p_not_null then
    return;
  end if;
  execute format('select count(*) from public.%I where %I is null', w.relation, w.name) into v_nulls;
  if v_nulls > 0 then
    perform pg_temp.step(6, format('column %s of public.%s', w.name, w.relation), format('%s empty rows become %s', v_nulls, w.fill),
      format('update public.%I set %I = %s where %2$I is null', w.relation, w.name, w.fill));
  end if;
  execute format('alter table pg_temp.trial alter column %I set not null', w.name);
  perform pg_temp.step(6, format('column %s of public.%s', w.name, w.relation), 'may not be null any more',
    format('alter table public.%I alter column %I set not null', w.relation, w.name));
end
$$;
