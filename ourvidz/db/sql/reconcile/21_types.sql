-- Checks whether a column's type may stay or can be converted to ours. False: refused.
create or replace function pg_temp.plan_type(
  w wanted_columns, p_type text, p_kind text, p_typmod integer, p_same boolean, p_preset text, p_attnum smallint) returns boolean
language plpgsql as $$
declare
  v_target constant text := format_type(to_regtype(w.type), null);
  -- Too narrow for what is written here, even if the type is accepted.
  v_narrow constant boolean := p_type = 'character varying' and v_target = 'text' and p_typmod between 0 and 254;
  v_object constant text := format('column %s of public.%s', w.name, w.relation);
  v_way text;
  v_leans text;
begin
  if p_same or p_type = any (w.accepts) and not v_narrow then
    return true;
  end if;
  select format(expression, quote_ident(w.name)) into v_way from conversions
  where target = v_target and source = case p_kind when 'e' then 'enum' when 'd' then 'domain' else p_type end;
  v_way := coalesce(v_way, case when v_narrow then quote_ident(w.name) || '::text' end);
  if v_way is null then
    perform pg_temp.refuse(v_object, format('its type is %s, which cannot become %s by itself', p_type, v_target),
      format('alter table public.%I alter column %I type %s using … (you know what its values mean)', w.relation, w.name, w.type));
    return pg_temp.as_wanted(w);
  end if;
  v_leans := pg_temp.leaning_on(w.relation, p_attnum);
  if v_leans is not null then
    perform pg_temp.refuse(v_object, format('its type must change from %s to %s, and %s leans on it', p_type, v_target, v_leans),
      format('drop %s, migrate, and make it again', v_leans));
    return pg_temp.as_wanted(w);
  end if;
  begin
    execute format('select count(%s) from public.%I', v_way, w.relation);
  exception when others then
    perform pg_temp.refuse(v_object, format('its type must change from %s to %s, and a row does not let itself be converted: %s', p_type, v_target, sqlerrm),
      format('correct what select %I from public.%I shows', w.name, w.relation));
    return pg_temp.as_wanted(w);
  end;
  return pg_temp.plan_conversion(w, p_type, v_target, v_way, p_preset);
end
$$;

-- Makes the copy's column what is wanted, so that later checks find all other reasons to refuse too.
create or replace function pg_temp.as_wanted(w wanted_columns) returns boolean language plpgsql as $$
begin
  execute format('alter table pg_temp.trial drop column if exists %I cascade, add column %1$I %s', w.name, w.type);
  return false;
end
$$;

-- Returns the views, rules, policies of other tables, and triggers that use the column: Postgres then refuses to change its type.
create or replace function pg_temp.leaning_on(p_relation text, p_attnum smallint) returns text language sql stable as $$
  select string_agg(distinct replace(pg_describe_object(d.classid, d.objid, 0), 'rule _RETURN on ', ''), ', ')
  from pg_depend as d
  left join pg_rewrite as r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
  left join pg_policy as p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
  left join pg_class as c on c.oid = p.polrelid
  where d.refclassid = 'pg_class'::regclass and d.refobjid = to_regclass('public.' || p_relation) and d.refobjsubid = p_attnum
    and (r.oid is not null or d.classid = 'pg_trigger'::regclass
         or p.oid is not null and not (c.relnamespace = 'public'::regnamespace and c.relname in (select name from our_tables)))
$$;

-- Plans a conversion after trying it on the copy. Drops CHECKs that compare the column with a value of its old type and prevent the change.
create or replace function pg_temp.plan_conversion(w wanted_columns, p_type text, p_target text, p_way text, p_preset text) returns boolean
language plpgsql as $$
declare
  v_clause constant text := format('alter column %I type %s using %s', w.name, w.type, p_way);
  v_error text;
  v_check text;
begin
  if p_preset is not null then
    perform pg_temp.alter_table(4, w.relation, 'default of column ' || w.name, 'dropped: it was ' || p_preset, format('alter column %I drop default', w.name));
  end if;
  loop
    begin
      execute 'alter table pg_temp.trial ' || v_clause;
      exit;
    exception when others then
      v_error := sqlerrm;
      select c.conname into v_check from pg_constraint as c join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = any (c.conkey)
      where c.conrelid = 'pg_temp.trial'::regclass and c.contype = 'c' and a.attname = w.name limit 1;
      if v_check is null then
        perform pg_temp.refuse(format('column %s of public.%s', w.name, w.relation), format('its type cannot change from %s to %s: %s', p_type, p_target, v_error),
          format('alter table public.%I %s, after what stands in its way is dropped', w.relation, v_clause));
        return pg_temp.as_wanted(w);
      end if;
      perform pg_temp.alter_table(3, w.relation, 'constraint ' || v_check, format('dropped: column %s changes its type', w.name), format('drop constraint %I', v_check));
    end;
  end loop;
  perform pg_temp.step(4, format('column %s of public.%s', w.name, w.relation), format('%s becomes %s', p_type, p_target),
                       format('alter table public.%I %s', w.relation, v_clause));
  if p_preset is not null and w.preset is null then
    perform pg_temp.alter_table(4, w.relation, 'default of column ' || w.name, 'set again',
      format('alter column %I set default %s', w.name, coalesce(w.initial, format('(%s)::%s', p_preset, w.type))));
  end if;
  return true;
end
$$;
