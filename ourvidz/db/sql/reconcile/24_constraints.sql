-- Plans the CHECKs and keys that one of our tables must have.
create or replace function pg_temp.plan_checks(p_relation text) returns void language plpgsql as $$
declare
  c record;
  v_found text;
  v_wanted text;
begin
  for c in select * from wanted_checks where relation = p_relation order by n loop
    v_found := (select pg_get_constraintdef(oid) from pg_constraint where conrelid = to_regclass('public.' || p_relation) and conname = c.name);
    execute format('alter table pg_temp.trial drop constraint if exists %I; alter table pg_temp.trial add constraint %1$I %s', c.name, c.definition);
    v_wanted := (select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'pg_temp.trial'::regclass and conname = c.name);
    -- A validated constraint, which existing rows satisfy too, is as good.
    if v_found is distinct from v_wanted and v_found is distinct from replace(v_wanted, ' NOT VALID', '') then
      if v_found is not null and not exists (select from plan where object = format('constraint %s of public.%s', c.name, p_relation) and phase = 3) then
        perform pg_temp.step(3, format('constraint %s of public.%s', c.name, p_relation), 'dropped: this program''s own of that name takes its place',
                             format('alter table public.%I drop constraint %I', p_relation, c.name));
      end if;
      perform pg_temp.step(6, format('constraint %s of public.%s', c.name, p_relation), 'added',
                           format('alter table public.%I add constraint %I %s', p_relation, c.name, c.definition));
    end if;
  end loop;
end
$$;

create or replace function pg_temp.plan_keys(p_relation text) returns void language plpgsql as $$
declare
  k record;
  v_list text;
  v_twice boolean;
begin
  for k in
    select * from wanted_keys as wk where relation = p_relation
      and cardinality(columns) = (select count(*) from pg_attribute where attrelid = to_regclass('public.' || p_relation) and attname = any (wk.columns) and not attisdropped)
      and not exists (
        select from pg_index as i where i.indrelid = to_regclass('public.' || p_relation) and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
          and (select array_agg(a.attname::text order by a.attname) from pg_attribute as a where a.attrelid = i.indrelid and a.attnum = any (i.indkey))
              = (select array_agg(c order by c) from unnest(wk.columns) as c))
    order by n
  loop
    v_list := (select string_agg(quote_ident(c), ', ') from unnest(k.columns) as c);
    execute format('select exists (select from public.%I group by %s having count(*) > 1 or num_nulls(%2$s) > 0)', p_relation, v_list) into v_twice;
    if v_twice then
      perform pg_temp.refuse(format('rows of public.%s', p_relation), format('(%s) must be unique and not null, and some are not', v_list),
        format('select %s, count(*) from public.%I group by %1$s having count(*) > 1 or num_nulls(%1$s) > 0: keep one of each', v_list, p_relation));
    else
      perform pg_temp.step(7, format('key (%s) of public.%s', v_list, p_relation), 'added', format('alter table public.%I add %s (%s)', p_relation,
        case when k.columns = '{id}' and not exists (select from pg_constraint where conrelid = to_regclass('public.' || p_relation) and contype = 'p')
             then 'primary key' else 'unique' end, v_list));
    end if;
  end loop;
end
$$;
