-- Begins an erasure or resumes an interrupted one: from now on nothing can be queued or attested for this user.
create or replace function ourvidz.erase_begin(p_user uuid, p_reason text, p_by text) returns ourvidz.erasures
language plpgsql
as $$
declare
  e ourvidz.erasures;
begin
  perform ourvidz.erase_lock(p_user);
  update public.profiles set age_verified = false, erased_at = coalesce(erased_at, ourvidz.now()) where id = p_user;
  insert into ourvidz.erasures (user_id, reason, asked_by, started_at) values (p_user, p_reason, p_by, ourvidz.now())
  on conflict (user_id) where finished_at is null do nothing;
  select * into e from ourvidz.erasures where user_id = p_user and finished_at is null;
  return e;
end
$$;

-- Taken by each step: waits for whoever queues, retries or attests for this user (ourvidz.lock_verified); refuses under a legal hold.
create or replace function ourvidz.erase_lock(p_user uuid) returns void
language plpgsql
as $$
begin
  perform ourvidz.profile_lock(p_user);
  if exists (select from ourvidz.legal_holds where user_id = p_user and lifted_at is null) then
    raise exception 'A legal hold stands on user %: nothing of theirs is erased.', p_user
      using errcode = 'OV020', hint = '`ourvidz hold ls` says since when and why; `ourvidz hold lift` lifts it.';
  end if;
end
$$;

-- Adds the counts of what was erased outside the database. With empty counts, only checks that the erasure may go on.
create or replace function ourvidz.erase_add_counts(p_user uuid, p_counts jsonb) returns void
language plpgsql
as $$
begin
  perform ourvidz.erase_lock(p_user);
  update ourvidz.erasures as e
  set counts = (select coalesce(jsonb_object_agg(key, n), '{}')
                from (select key, sum(value::bigint) as n
                      from (select * from jsonb_each_text(e.counts) union all select * from jsonb_each_text(p_counts)) as either
                      group by key) as summed)
  where user_id = p_user and finished_at is null;
end
$$;

create or replace function ourvidz.erase_finish(p_user uuid) returns ourvidz.erasures
language plpgsql
as $$
declare
  e ourvidz.erasures;
begin
  perform ourvidz.erase_lock(p_user);
  update ourvidz.erasures set finished_at = greatest(ourvidz.now(), started_at)
  where user_id = p_user and finished_at is null;
  -- A concurrent run may have finished it.
  select * into e from ourvidz.erasures where user_id = p_user order by id desc limit 1;
  return e;
end
$$;
