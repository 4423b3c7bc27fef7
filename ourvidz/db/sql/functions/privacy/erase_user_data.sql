-- Erases what a user wrote and all references to what was made from it; events and figures stay, and the hash chain still verifies. Returns
-- how many rows of each kind. p_try: changes nothing, and allows unfinished jobs. A second run finds nothing left.
create or replace function ourvidz.erase_user_data(p_user uuid, p_try boolean default false) returns jsonb
language plpgsql
as $$
declare
  v_counts jsonb;
begin
  perform ourvidz.erase_lock(p_user);
  if not p_try and exists (select from public.jobs where user_id = p_user and completed_at is null) then
    raise exception 'User % has unfinished jobs: their words are still needed.', p_user using errcode = 'OV001', hint = 'Cancel them first.';
  end if;
  begin
    v_counts := ourvidz.erase_rows(p_user);
    if p_try then
      raise exception using errcode = 'OV000';
    end if;
    perform ourvidz.erase_add_counts(p_user, v_counts);
  exception when sqlstate 'OV000' then
    null;  -- rolled back, except for v_counts
  end;
  return v_counts;
end
$$;

-- Applies ourvidz.erasure_rules in their order. Skips tables that the project does not have.
create or replace function ourvidz.erase_rows(p_user uuid) returns jsonb
language plpgsql
as $$
declare
  r ourvidz.erasure_rules;
  v_rows bigint;
  v_counts jsonb := '{}';
begin
  for r in select * from ourvidz.erasure_rules where to_regclass(relation) is not null order by n loop
    if r.blank is null then
      execute format('delete from %s where %s', r.relation, r.whose) using p_user;
    else
      execute format('update %s set %s where (%s) and (%s) is not true', r.relation,
                     (select string_agg(format('%I = %s', key, value), ', ') from jsonb_each_text(r.blank)), r.whose, r.unless) using p_user;
    end if;
    get diagnostics v_rows = row_count;
    v_counts := v_counts || jsonb_build_object(r.kind, v_rows + coalesce((v_counts->>r.kind)::bigint, 0));
  end loop;
  return v_counts;
end
$$;

-- Lists rows that name the user in tables that are not ours, by column name or foreign key. They are left in place and reported.
create or replace function ourvidz.erasure_unhandled_rows(p_user uuid) returns table (relation text, by_column text, rows bigint)
language plpgsql
as $$
begin
  for relation, by_column in
    select distinct format('%I.%I', n.nspname, c.relname), a.attname::text
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0
    where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'ourvidz', 'auth', 'storage', 'realtime', 'vault')
      and not exists (select from ourvidz.erasure_rules as r where to_regclass(r.relation) = c.oid)
      and not (n.nspname = 'public' and c.relname = any (ourvidz.our_relations())) and a.atttypid in ('uuid'::regtype, 'text'::regtype)
      and (a.attname in ('user_id', 'owner_id', 'profile_id', 'author_id', 'created_by', 'uid')
           or exists (select from pg_constraint as k where k.conrelid = c.oid and k.contype = 'f' and k.conkey = array[a.attnum]
                      and k.confrelid in ('public.profiles'::regclass, 'auth.users'::regclass)))
    order by 1, 2
  loop
    begin
      execute format('select count(*) from %s where %I::text = $1::text', relation, by_column) into rows using p_user;
    exception when insufficient_privilege then
      rows := null;  -- this login may not read it
    end;
    if rows is distinct from 0 then
      return next;
    end if;
  end loop;
end
$$;
