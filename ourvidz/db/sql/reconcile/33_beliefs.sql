-- Decides which claims of legacy users about themselves (role, balance, plan, age: that system's policies let anybody write them) are kept:
-- only those that the operator names in ourvidz.believe, a setting of the transaction, {"balance" | "plan" | "age": "none" | "all" | [user
-- ids], "start": tokens of those not believed, "by": who decided}. ourvidz.import_decisions keeps each claim and its outcome.
create or replace function pg_temp.believes(p_what text) returns text language sql stable as $$
  -- Returns a condition on public.profiles as p.
  select case when said = '"all"' then 'true' when jsonb_typeof(said) = 'array' then format('p.id = any (%L::uuid[])', array(select jsonb_array_elements_text(said)))
              else 'false' end
  from (select nullif(current_setting('ourvidz.believe', true), '')::jsonb -> p_what as said) as setting
$$;

create or replace function pg_temp.plan_beliefs() returns void language plpgsql as $$
declare
  v_said constant jsonb := coalesce(nullif(current_setting('ourvidz.believe', true), '')::jsonb, '{}');
  v_by constant text := coalesce(v_said->>'by', 'migration');
  v_start constant bigint := coalesce((v_said->>'start')::bigint, 0);
  b record;
  v_all bigint;
  v_believed bigint;
begin
  if to_regclass('public.profiles') is null or to_regclass('ourvidz.executors') is not null then
    return;
  end if;
  for b in select * from (values
      ('balance', 'token_balance', format('%s', v_start), 'p.token_balance <> ' || v_start, 'p.token_balance >= 0'),
      ('plan', 'subscription_status', '''inactive''', 'p.subscription_status::text not in (''inactive'', ''free'')', 'true'),
      ('age', 'age_verified', 'false', 'p.age_verified::text in (''true'', ''t'', ''1'', ''yes'')', 'true')) as v (what, name, instead, speaks, sane) loop
    if exists (select from pg_attribute where attrelid = 'public.profiles'::regclass and attname = b.name and not attisdropped)
       and exists (select from pg_attribute where attrelid = 'public.profiles'::regclass and attname = 'id' and atttypid = 'uuid'::regtype)
       and not exists (select from plan where refused is not null and object = format('column %s of public.profiles', b.name)) then
      execute format('select count(*), count(*) filter (where %s and %s) from public.profiles as p where %s', pg_temp.believes(b.what), b.sane,
                     case b.what when 'balance' then 'p.token_balance::numeric <> ' || v_start else b.speaks end) into v_all, v_believed;
      if v_all > 0 then
        perform pg_temp.step(5, format('%s of users in public.profiles', b.what), format('%s believed, %s become %s', v_believed, v_all - v_believed, b.instead), format(
          'insert into ourvidz.import_decisions (user_id, what, older_value, believed, decided_by, at)'
          ' select p.id, %1$L, p.%2$I::text, %3$s, %4$L, now() from public.profiles as p where %5$s;'
          ' update public.profiles as p set %2$I = %6$s where %5$s and not (%3$s)', b.what, b.name, format('(%s and %s)', pg_temp.believes(b.what), b.sane), v_by, b.speaks, b.instead));
      end if;
    end if;
  end loop;
  perform pg_temp.plan_role_beliefs(v_by);
end
$$;

-- Removes roles that auth.users does not confirm: only the project's admins write there.
create or replace function pg_temp.plan_role_beliefs(p_by text) returns void language plpgsql as $$
declare
  v_backed text := 'exists (select from auth.users as u where u.id = r.user_id and u.raw_app_meta_data->>''role'' = r.role::text)';
  v_said bigint;
  v_backed_count bigint;
begin
  if to_regclass('public.user_roles') is null or exists (select from plan where refused is not null and object like '%public.user_roles') then
    return;
  end if;
  if to_regclass('auth.users') is null or not has_table_privilege('auth.users', 'select') then
    v_backed := 'false';
  end if;
  execute format('select count(*), count(*) filter (where %s) from public.user_roles as r where r.role::text not in (''basic_user'', ''guest'')', v_backed) into v_said, v_backed_count;
  if v_said > v_backed_count then
    perform pg_temp.step(5, 'roles of users in public.user_roles', format('%s are in app_metadata and stay, %s are removed', v_backed_count, v_said - v_backed_count), format(
      'insert into ourvidz.import_decisions (user_id, what, older_value, believed, decided_by, at)'
      ' select r.user_id, ''role'', r.role::text, %1$s, %2$L, now() from public.user_roles as r where r.role::text not in (''basic_user'', ''guest'');'
      ' delete from public.user_roles as r where r.role::text not in (''basic_user'', ''guest'') and not %1$s', v_backed, p_by));
  end if;
end
$$;
