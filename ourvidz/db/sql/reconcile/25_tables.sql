-- Plans a whole table: creates a missing one; checks an existing one column by column, on a copy on which every step is tried first.
create or replace function pg_temp.plan_table(p_relation text) returns void language plpgsql as $$
declare
  v_kind "char";
  v_secured boolean;
  v_forced boolean;
begin
  select relkind, relrowsecurity, relforcerowsecurity into v_kind, v_secured, v_forced from pg_class where oid = to_regclass('public.' || p_relation);
  if v_kind is null then
    perform pg_temp.plan_new_table(p_relation);
    return;
  elsif v_kind <> 'r' then
    perform pg_temp.refuse('public.' || p_relation, 'this program needs a table of that name, and this is not one', 'rename it, migrate, and decide what becomes of it');
    return;
  end if;
  if not pg_has_role((select relowner from pg_class where oid = to_regclass('public.' || p_relation)), 'usage') then
    perform pg_temp.refuse('table public.' || p_relation, format('it belongs to %s, and %s may not change it', (select relowner::regrole from pg_class
      where oid = to_regclass('public.' || p_relation)), current_user), format('alter table public.%I owner to %s', p_relation, quote_ident(current_user)));
    return;
  end if;
  perform pg_temp.plan_reach(p_relation);
  drop table if exists pg_temp.trial cascade;
  execute format('create temp table trial (like public.%I including defaults including constraints including generated including identity)', p_relation);
  if not v_secured then
    perform pg_temp.step(2, 'table public.' || p_relation, 'row-level security enabled', format('alter table public.%I enable row level security', p_relation));
  end if;
  if v_forced then
    perform pg_temp.step(2, 'table public.' || p_relation, 'row-level security does not bind its owner any more: functions write as the owner',
                         format('alter table public.%I no force row level security', p_relation));
  end if;
  if (select relowner from pg_class where oid = to_regclass('public.' || p_relation)) <> coalesce(to_regrole('ourvidz_owner')::oid, 0) then
    perform pg_temp.step(9, 'table public.' || p_relation, 'belongs to ourvidz_owner from now on, and the rights of the API''s roles are set anew', null);
  end if;
  perform pg_temp.plan_columns(p_relation);
  perform pg_temp.plan_writes(p_relation);
  perform pg_temp.plan_checks(p_relation);
  perform pg_temp.plan_triggers(p_relation);
  perform pg_temp.plan_keys(p_relation);
end
$$;

-- Refuses what may prevent writes to a table and is not copied with it: rules, a publication whose replica identity lacks a column.
create or replace function pg_temp.plan_reach(p_relation text) returns void language plpgsql as $$
declare
  v_column constant text := (select quote_ident(attname) from pg_attribute where attrelid = to_regclass('public.' || p_relation) and attnum > 0
                             and not attisdropped and attgenerated = '' and attidentity = '' order by attnum limit 1);
  v_rule text;
begin
  -- Affects no row, but the planner does not know that.
  execute format('update public.%I set %s = %2$s where ctid = ''(4294967294,1)''', p_relation, v_column);
  execute format('delete from public.%I where ctid = ''(4294967294,1)''', p_relation);
  v_rule := (select string_agg(quote_ident(rulename), ', ') from pg_rewrite where ev_class = to_regclass('public.' || p_relation));
  if v_rule is not null then
    perform pg_temp.refuse('table public.' || p_relation, 'rules rewrite what is written: ' || v_rule, format('drop rule %s on public.%I', v_rule, p_relation));
  end if;
exception when others then
  perform pg_temp.refuse('table public.' || p_relation, 'it cannot be written: ' || sqlerrm, 'make update and delete on it work again');
end
$$;

create or replace function pg_temp.plan_new_table(p_relation text) returns void language sql as $$
  select pg_temp.step(4, 'table public.' || p_relation, 'made', format(E'create table public.%I (\n  %s);\nalter table public.%1$I enable row level security',
    p_relation, (select string_agg(concat_ws(' ', quote_ident(name), type, 'default ' || coalesce(nullif(preset, 'none'), initial),
                                             case when fill is not null and coalesce(more, '') !~ 'not null' then 'not null' end, more), E',\n  ' order by n)
                 from wanted_columns where relation = p_relation)));
  select pg_temp.step(6, format('constraint %s of public.%s', name, relation), 'added', format('alter table public.%I add constraint %I %s', relation, name, definition))
  from wanted_checks where relation = p_relation order by n;
  select pg_temp.step(7, format('key (%s) of public.%s', array_to_string(columns, ', '), relation), 'added',
                      format('alter table public.%I add unique (%s)', relation, array_to_string(columns, ', ')))
  from wanted_keys where relation = p_relation and columns <> '{id}' order by n;
$$;
