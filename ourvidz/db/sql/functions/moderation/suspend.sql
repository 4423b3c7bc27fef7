-- Suspends a user: waiting jobs are cancelled, running ones stop at their next step, nothing new is queued, and the user's objects are
-- moved away and may not be read. An existing suspension stays as it is.
create or replace function ourvidz.suspend(p_user uuid, p_reason text, p_actor text) returns ourvidz.suspensions
language plpgsql
as $$
declare
  v_row ourvidz.suspensions;
begin
  if p_reason ~ '^[a-z_]{1,40}$' is not true then
    raise exception 'The reason of a suspension is one word of a to z, of at most 40 letters.' using errcode = 'OV009', column = 'reason';
  end if;
  -- The lock that a submit shares: what was queued before is stopped here, and nothing is queued after.
  perform ourvidz.profile_lock(p_user);
  insert into ourvidz.suspensions (user_id, reason, since, by, sweep_at) values (p_user, p_reason, ourvidz.now(), p_actor, ourvidz.now())
  on conflict (user_id) where lifted_at is null do nothing returning * into v_row;
  if not found then
    select * into v_row from ourvidz.suspensions where user_id = p_user and lifted_at is null;
    return v_row;
  end if;
  perform ourvidz.moderated('suspended', p_actor, p_user => p_user, p_reason => p_reason);
  update ourvidz.taken_objects set suspended = true, tries = 0, next_at = ourvidz.now() where user_id = p_user and not suspended;
  insert into ourvidz.taken_objects as t (bucket, path, user_id, suspended, next_at)
  select a.bucket, a.path, p_user, true, ourvidz.now()
  from public.artifacts as a where a.job_id = any (array(select id from public.jobs where user_id = p_user)) and num_nulls(a.deleted_at) = 1
  on conflict (bucket, path) do nothing;
  perform ourvidz.stop_jobs(p_user, 'suspended', p_actor);
  return v_row;
end
$$;

-- Lifts a suspension. Returns whether there was one. Objects that a takedown holds stay away.
create or replace function ourvidz.suspension_lift(p_user uuid, p_actor text) returns boolean
language plpgsql
as $$
begin
  update ourvidz.suspensions set lifted_at = greatest(ourvidz.now(), since), lifted_by = p_actor, sweep_at = null
  where user_id = p_user and lifted_at is null;
  if not found then
    return false;
  end if;
  perform ourvidz.moderated('lifted', p_actor, p_user => p_user);
  update ourvidz.taken_objects set suspended = false, tries = 0, next_at = ourvidz.now() where user_id = p_user and suspended;
  delete from ourvidz.taken_objects where user_id = p_user and not down and not suspended and not moved;
  return true;
end
$$;

create or replace function ourvidz.is_suspended(p_user uuid) returns boolean
language sql stable
as $$ select exists (select from ourvidz.suspensions where user_id = p_user and lifted_at is null) $$;

-- Checks whether the caller is suspended. Used by policies, like on_hold.
create or replace function ourvidz.am_suspended() returns boolean
language sql stable security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$ select ourvidz.is_suspended((ourvidz.caller()).user_id) $$;

create or replace function ourvidz.refuse_suspended(p_user uuid) returns void
language plpgsql
as $$
begin
  if ourvidz.is_suspended(p_user) then
    raise exception 'User % is suspended: nothing is made for them.', p_user
      using errcode = 'OV024', hint = 'They may appeal once (rpc appeal); an operator decides.';
  end if;
end
$$;
