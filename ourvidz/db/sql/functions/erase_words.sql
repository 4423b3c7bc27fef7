-- Takes away what a user wrote, and what points to what was made of it; events and figures stay, and the chain verifies. How many rows of
-- each. p_try: nothing is changed, and unfinished jobs are no hindrance. Again, it finds nothing left.
create or replace function ourvidz.erase_words(p_user uuid, p_try boolean default false) returns jsonb
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
    perform ourvidz.erase_count(p_user, v_counts);
  exception when sqlstate 'OV000' then
    null;  -- undone; what was counted is not
  end;
  return v_counts;
end
$$;

-- Carries out ourvidz.erasure_rules, in their order. A table that a project does not have is left out.
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

-- Rows that name the user in tables that are not ours: by their columns' names, or by what those refer to. They are left, and said by name.
create or replace function ourvidz.erasure_left(p_user uuid) returns table (relation text, by_column text, rows bigint)
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
      rows := null;  -- this login may not look
    end;
    if rows is distinct from 0 then
      return next;
    end if;
  end loop;
end
$$;
